"""When a gate opens: sessions that are due, sessions that are to go, routes of before."""

from __future__ import annotations

import json

import pytest

from underlay.facts.bird import Reading
from underlay.features.route_reflectors import gate, plan
from underlay.features.route_reflectors.gate import Baseline
from underlay.features.route_reflectors.plan import State
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.route_reflectors.status import reading
from underlay.features.route_reflectors.topology import Layout, Node

NAMES = ("n1", "n2", "n3", "n4")
MESH = Layout(
    tuple(Node(name, (f"192.0.2.{name[1]}",), {}) for name in NAMES), True, 64512, {}
)  # fmt: skip
GROUPS = {"all": {"cluster_id": "244.0.0.1", "reflectors": ["n1", "n2"]}}
TARGET = plan.wanted(RouteReflectors.model_validate({"groups": GROUPS}), {})
AFTER = plan.applied(MESH, State(mesh=True), TARGET, "route-reflector")
UP = "Established"


def block(name: str) -> str:
    """The block of a node."""
    return f"10.244.{name[1]}.0/26"


def good(layout: Layout) -> dict[str, Reading | None]:
    """What every node says when all is well."""
    return {
        name: Reading(
            sessions={s.address: UP for s in ends},
            learned=frozenset(block(other) for other in NAMES if other != name),
            own=frozenset({block(name)}),
        )
        for name, ends in layout.sessions().items()
    }


def changed(layout: Layout, name: str, **changes: object) -> dict[str, Reading | None]:
    """The same with one node that says something else."""
    found = good(layout)
    old = found[name]
    assert old is not None
    values = {"sessions": old.sessions, "learned": old.learned, "own": old.own, **changes}
    return {**found, name: Reading(**values)}  # type: ignore[arg-type]


BEFORE = gate.baseline(good(MESH), MESH)


def test_all_well() -> None:
    assert gate.complaints(MESH, good(MESH), BEFORE) == []
    assert gate.complaints(AFTER, good(AFTER), BEFORE) == []


def test_a_baseline_survives_the_journal() -> None:
    assert Baseline.from_json(json.loads(json.dumps(BEFORE.to_json()))) == BEFORE
    assert BEFORE.of("n3") == {block(name) for name in ("n1", "n2", "n4")}
    assert BEFORE.of("unknown") == frozenset()


@pytest.mark.parametrize("state", ["Active", None])
def test_a_session_that_is_due(state: str | None) -> None:
    sessions = {"192.0.2.1": UP} | ({"192.0.2.2": state} if state else {})
    found = gate.complaints(AFTER, changed(AFTER, "n3", sessions=sessions), BEFORE)
    assert found == [
        f"n3: 1 of 2 sessions are Established, 192.0.2.2 (n2) is {state or 'not there'}"
    ]


def test_a_route_that_is_missing() -> None:
    learned = frozenset({block("n1"), block("n2")})
    found = gate.complaints(AFTER, changed(AFTER, "n3", learned=learned), BEFORE)
    assert found == ["n3: 1 of 3 routes are missing, as 10.244.4.0/26"]


def test_the_mesh_that_is_still_there_proves_nothing() -> None:
    found = gate.complaints(AFTER, good(MESH), BEFORE)
    assert "n3: still has the session with 192.0.2.4 (of 1) that is to go" in found


def test_a_block_that_its_node_gave_back_is_not_lost() -> None:
    readings = good(AFTER)
    for name, old in readings.items():
        assert old is not None
        gone = {block("n4")}
        readings[name] = Reading(old.sessions, old.learned - gone, old.own - gone)
    assert gate.complaints(AFTER, readings, BEFORE) == []


def test_a_route_from_outside_has_nobody_to_give_it_back() -> None:
    outside = frozenset({"198.51.100.0/24"})
    start = good(MESH)
    for name, old in start.items():
        assert old is not None
        start[name] = Reading(old.sessions, old.learned | outside, old.own)
    before = gate.baseline(start, MESH)
    assert before.outside == ("198.51.100.0/24",)
    assert Baseline.from_json(before.to_json()) == before
    found = gate.complaints(AFTER, good(AFTER), before)
    assert [text.partition(":")[0] for text in found] == list(NAMES)


def test_new_routes_are_welcome() -> None:
    learned = frozenset({*(block(n) for n in NAMES), "10.244.200.0/26"})
    assert gate.complaints(AFTER, changed(AFTER, "n3", learned=learned), BEFORE) == []


def test_a_silent_node_is_no_node_that_is_well() -> None:
    assert gate.complaints(AFTER, {**good(AFTER), "n4": None}, BEFORE) == [
        "n4: nothing tells its sessions; is calico-node running there?"
    ]


def test_nodes_left_out_need_no_session_and_owe_none() -> None:
    readings = good(AFTER)
    for name, old in readings.items():
        assert old is not None
        sessions = {a: ("Idle" if a == "192.0.2.4" else s) for a, s in old.sessions.items()}
        readings[name] = Reading(sessions, old.learned, old.own)
    readings["n4"] = None
    assert gate.complaints(AFTER, readings, BEFORE, without=("n4",)) == []
    assert gate.complaints(AFTER, readings, BEFORE)


def test_a_session_that_was_idle_before_is_excused_unless_it_is_ours() -> None:
    peers = {"tor": {"peerIP": "203.0.113.1", "asNumber": 65001}}
    layout = Layout(MESH.nodes, True, 64512, peers)
    start = good(layout)
    for name, old in start.items():
        assert old is not None
        start[name] = Reading({**old.sessions, "203.0.113.1": "Active"}, old.learned, old.own)
    before = gate.baseline(start, layout)
    assert gate.complaints(layout, start, before) == []
    assert len(gate.complaints(layout, start, before, new=["203.0.113.1"])) == len(NAMES)


def test_a_calico_node_status_says_the_same_as_bird() -> None:
    status = {
        "lastUpdated": "2026-01-01T00:00:00Z",
        "bgp": {
            "numberEstablishedV4": 1, "numberNotEstablishedV4": 1,
            "peersV4": [
                {"peerIP": "192.0.2.2", "type": "NodeMesh", "state": "Established", "since": "x"},
                {"peerIP": "192.0.2.3", "type": "NodePeer", "state": "Idle", "since": "x"},
            ],
            "peersV6": [{"peerIP": "2001:db8::2", "type": "NodeMesh", "state": "Established"}],
        },
        "routes": {
            "routesV4": [
                {"type": "FIB", "destination": "10.244.2.0/26", "gateway": "192.0.2.2",
                 "learnedFrom": {"sourceType": "NodeMesh", "peerIP": "192.0.2.2"}},
                {"type": "RIB", "destination": "10.244.9.0/26",
                 "learnedFrom": {"sourceType": "BGPPeer", "peerIP": "192.0.2.3"}},
                {"type": "FIB", "destination": "10.244.1.0/26",
                 "learnedFrom": {"sourceType": "Static"}},
                {"type": "FIB", "destination": "192.0.2.0/24",
                 "learnedFrom": {"sourceType": "Direct"}},
            ]
        },
    }  # fmt: skip
    assert reading(status) == Reading(
        sessions={"192.0.2.2": "Established", "192.0.2.3": "Idle", "2001:db8::2": "Established"},
        learned=frozenset({"10.244.2.0/26"}), own=frozenset({"10.244.1.0/26"}),
    )  # fmt: skip


def test_a_status_that_tells_half_proves_nothing() -> None:
    """Every field of CalicoNodeStatus is optional."""
    found = reading({
        "bgp": {"peersV4": [{"peerIP": "192.0.2.2"}, {"state": "Established"}], "peersV6": None},
        "routes": {"routesV4": [{"type": "FIB"}, {"destination": "10.244.1.0/26"}]},
    })  # fmt: skip
    assert found == Reading({"192.0.2.2": "unknown"}, frozenset(), frozenset())
    assert reading({"bgp": None, "routes": None}) == Reading({}, frozenset(), frozenset())
