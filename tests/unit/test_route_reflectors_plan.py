"""What settings mean for BGP: selectors, sessions, where routes go, and what has to be written."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from tests.lab import calico_objects
from tests.upstream import upstream

from underlay.features.route_reflectors import plan, selector
from underlay.features.route_reflectors.plan import Mark, State
from underlay.features.route_reflectors.report import cost, report
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.route_reflectors.spread import Graph
from underlay.features.route_reflectors.topology import Layout, Node, bare

LABELS = {"rack": "a", "node.example/role": "edge", "zone": "eu-1"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("all()", True),
        ("has(rack)", True),
        ("!has(rack)", False),
        ("rack == 'a'", True),
        ('rack == "b"', False),
        ("rack != 'b'", True),
        ("nothing != 'b'", True),
        ("nothing == ''", False),
        ("rack in {'b', 'a'}", True),
        ("rack not in { 'b' }", True),
        ("nothing in {'a'}", False),
        ("zone starts with 'eu'", True),
        ("zone ends with '2'", False),
        ("zone contains 'u-'", True),
        ("nothing contains ''", False),
        ("rack == 'b' || zone == 'eu-1' && has(node.example/role)", True),
        ("(rack == 'b' || zone == 'eu-1') && !has(node.example/role)", False),
        ("!(rack == 'a' && zone == 'eu-2')", True),
    ],
)
def test_selectors_match_as_calico_has_it(text: str, matches: bool) -> None:
    assert selector.parse(text)(LABELS) is matches


@pytest.mark.parametrize(
    "text", ["rack", "rack = 'a'", "rack == a", "has()", "(rack == 'a'", "rack in {'a' 'b'}", "§",
             "rack == 'a' &&", "all() all()", "!"],
)  # fmt: skip
def test_what_calico_would_refuse_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a Calico selector: .*; write it as"):
        selector.parse(text)


def nodes(count: int, **labels: str) -> tuple[Node, ...]:
    """So many nodes with an address each."""
    return tuple(Node(f"n{n}", (f"192.0.2.{n}",), dict(labels)) for n in range(1, count + 1))


def mesh(count: int) -> Layout:
    """A full mesh."""
    return Layout(nodes(count), mesh=True, as_number=64512, peers={})


def section(*reflectors: str, **more: Any) -> RouteReflectors:
    """One group with these reflectors."""
    groups = {"all": {"cluster_id": "244.0.0.1", "reflectors": reflectors}}
    return RouteReflectors.model_validate({"groups": groups, **more})


def planned(layout: Layout, found: RouteReflectors) -> Layout:
    """The layout after the change."""
    return plan.applied(layout, State(mesh=True), plan.wanted(found, {}), found.label)


def peers_of(layout: Layout, name: str) -> set[str]:
    """Names of the nodes that one has sessions with."""
    return {session.peer for session in layout.sessions()[name]}


def test_clients_peer_with_the_reflectors_and_those_with_each_other() -> None:
    found = planned(mesh(5), section("n1", "n2"))
    assert peers_of(found, "n3") == {"n1", "n2"}
    assert peers_of(found, "n1") == {"n2", "n3", "n4", "n5"}
    clients = {s.peer: s.client for s in found.sessions()["n1"]}
    # those with one cluster id are no clients of each other
    assert clients == {"n2": False, "n3": True, "n4": True, "n5": True}
    assert not any(s.client for s in found.sessions()["n3"])


def test_an_id_takes_a_node_out_of_the_mesh_at_once() -> None:
    marks = {"n1": Mark("244.0.0.1", "all")}
    found = plan.applied(mesh(4), State(mesh=True), State(True, marks), "route-reflector")
    assert peers_of(found, "n1") == set()
    assert peers_of(found, "n2") == {"n3", "n4"}
    assert set(Graph.of(found).cut_off()) == {"n1", "n2", "n3", "n4"}


def test_a_selector_on_the_field_of_the_node_makes_reflectors_clients_too() -> None:
    """Why `!has(routeReflectorClusterID)` is not used: no label has that name."""
    naive = selector.parse("!has(routeReflectorClusterID)")
    ours = selector.parse(str(plan.wanted(section("n1", "n2"), {}).peers["underlay-rr-all"][
        "nodeSelector"]))  # fmt: skip
    reflector = {"route-reflector": "all"}
    assert (naive(reflector), ours(reflector)) == (True, False)
    assert (naive({}), ours({})) == (True, True)
    with pytest.raises(ValueError, match="a field of Calico's node and not a label"):
        RouteReflectors.model_validate(
            {"groups": {"a": {"cluster_id": "1.1.1.1", "reflectors": ["x"],
                              "clients": "!has(routeReflectorClusterID)"}}}
        )  # fmt: skip


def test_racks_have_their_own_reflectors_and_every_route_everywhere() -> None:
    layout = mesh(8)
    labelled = tuple(
        Node(n.name, n.addresses, {"rack": "ab"[number % 2]})
        for number, n in enumerate(layout.nodes)
    )
    layout = Layout(labelled, mesh=True, as_number=64512, peers={})
    groups = {
        "a": {"cluster_id": "244.0.0.1", "reflectors": ["n1", "n3"], "clients": "rack == 'a'"},
        "b": {"cluster_id": "244.0.0.2", "reflectors": ["n2", "n4"], "clients": "rack == 'b'"},
    }
    found = planned(layout, RouteReflectors.model_validate({"groups": groups}))
    assert peers_of(found, "n5") == {"n1", "n3"}
    assert peers_of(found, "n6") == {"n2", "n4"}
    graph = Graph.of(found)
    assert graph.cut_off() == {}
    for name in ("n1", "n2", "n3", "n4"):
        assert graph.cut_off([name]) == {}, name


def test_routers_peer_with_the_reflectors_of_their_groups_only() -> None:
    routers = {"tor": {"address": "203.0.113.1", "as_number": 65001, "groups": ["all"],
                       "password": {"name": "bgp"}}}  # fmt: skip
    found = section("n1", "n2", routers=routers)
    spec = plan.wanted(found, {}).peers["underlay-rr-router-tor"]
    assert spec == {
        "nodeSelector": "route-reflector in {'all'}", "peerIP": "203.0.113.1", "asNumber": 65001,
        "password": {"secretKeyRef": {"name": "bgp", "key": "password"}},
    }  # fmt: skip
    sessions = planned(mesh(4), found).sessions()
    assert [s.address for s in sessions["n1"] if not s.peer] == ["203.0.113.1"]
    assert [s.address for s in sessions["n3"] if not s.peer] == []


def test_peers_of_others_stay_and_count() -> None:
    theirs = {"tor": {"peerIP": "203.0.113.9:1790", "asNumber": 65009, "node": "n3"}}
    layout = Layout(nodes(4), mesh=True, as_number=64512, peers=theirs)
    found = planned(layout, section("n1", "n2"))
    assert {s.address for s in found.sessions()["n3"]} == {"192.0.2.1", "192.0.2.2", "203.0.113.9"}
    assert "tor" in found.peers


def test_a_peering_by_hand_goes_one_way_when_it_says_so() -> None:
    spec = {"nodeSelector": "rack == 'a'", "peerSelector": "rack == 'b'"}
    both = (Node("a", ("192.0.2.1",), {"rack": "a"}), Node("b", ("192.0.2.2",), {"rack": "b"}))
    auto = Layout(both, mesh=False, as_number=64512, peers={"p": spec})
    manual = Layout(both, False, 64512, {"p": {**spec, "reversePeering": "Manual"}})
    assert [len(auto.sessions()[n]) for n in "ab"] == [1, 1]
    assert [len(manual.sessions()[n]) for n in "ab"] == [1, 0]
    assert set(Graph.of(manual).cut_off()) == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.1", "192.0.2.1"), ("192.0.2.1:179", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"),
     ("[2001:db8::1]:179", "2001:db8::1")],
)  # fmt: skip
def test_addresses_lose_their_port(text: str, address: str) -> None:
    assert bare(text) == address


def test_both_families_have_sessions_of_their_own() -> None:
    dual = tuple(Node(f"n{n}", (f"192.0.2.{n}", f"2001:db8::{n}"), {}) for n in (1, 2, 3))
    found = planned(Layout(dual, mesh=True, as_number=64512, peers={}), section("n1", "n2"))
    assert {s.address for s in found.sessions()["n3"]} == {
        "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2",
    }  # fmt: skip


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Layout, RouteReflectors]:
    """A mesh, and groups that share its nodes out."""
    count = draw(st.integers(4, 14))
    groups = draw(st.integers(1, min(3, count // 4)))
    labelled = tuple(
        Node(f"n{n}", (f"192.0.2.{n}",), {"rack": str(n % groups)}) for n in range(count)
    )
    section = {
        f"g{g}": {
            "cluster_id": f"244.0.0.{g + 1}", "clients": f"rack == '{g}'",
            "reflectors": [f"n{g}", f"n{g + groups}"],
        }
        for g in range(groups)
    }  # fmt: skip
    layout = Layout(labelled, mesh=True, as_number=64512, peers={})
    return layout, RouteReflectors.model_validate({"groups": section})


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_any_groups_carry_every_route_and_lose_none_with_one_reflector(
    found: tuple[Layout, RouteReflectors],
) -> None:
    layout, wanted = found
    after = planned(layout, wanted)
    graph = Graph.of(after)
    assert graph.cut_off() == {}
    for node in after.nodes:
        assert graph.cut_off([node.name]) == {}
    assert cost(after, 1)["routes_per_node"] == len(after.nodes) - 1


@settings(max_examples=60, deadline=None)
@given(layouts(), layouts())
def test_a_change_leads_from_any_state_to_any_other_and_is_then_empty(
    one: tuple[Layout, RouteReflectors], other: tuple[Layout, RouteReflectors]
) -> None:
    old, new = plan.wanted(one[1], {}), plan.wanted(other[1], {})
    found = plan.change(old, new)
    marks = {n: m for n, m in {**old.marks, **found.gain}.items() if n not in found.lose}
    peers = {n: s for n, s in {**old.peers, **found.put}.items() if n not in found.drop}
    assert State(new.mesh, marks, peers) == new
    assert not plan.change(new, new)
    assert State.from_json(old.to_json()) == old


def test_three_hundred_nodes() -> None:
    """The figures of docs/route-reflectors.md."""
    names = ["n1", "n2"]
    found = section("n1", "n2")
    layout = plan.imagined(found, names, 300)
    told = report(found, layout, State(mesh=True), plan.wanted(found, {}))
    assert told["mesh"]["sessions"] == 300 * 299 // 2
    assert told["planned"]["sessions"] == 2 * 298 + 1
    assert (told["mesh"]["sessions_per_node"], told["planned"]["sessions_per_node"]) == (299, 2)
    assert told["planned"]["sessions_per_reflector"] == 299
    assert told["mesh"]["routes_per_node"] == told["planned"]["routes_per_node"] == 299
    assert (told["mesh"]["copies_per_node"], told["planned"]["copies_per_node"]) == (299, 598)
    assert told["cut_off"] == []
    assert told["cut_off_while_down"] == {"n1": [], "n2": []}


def _schemas() -> dict[str, Any]:
    """Name of a set to kind to the schema of its spec: our own small one, and Calico's releases."""
    own = {
        name: {"type": "object", "properties": spec} for name, spec in calico_objects.SPECS.items()
    }
    found: dict[str, Any] = {"own": own}
    for path in sorted(upstream("calico").glob("*/crds.yaml")):
        definitions = [d for d in yaml.safe_load_all(path.read_text()) if d]
        found[path.parent.name] = {
            d["spec"]["names"]["kind"]: d["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
                "properties"]["spec"]
            for d in definitions if d["kind"] == "CustomResourceDefinition"
        }  # fmt: skip
    return found


def test_what_is_written_is_what_calico_defines() -> None:
    routers = {"tor": {"address": "203.0.113.1", "as_number": 4200000000, "groups": ["all"],
                       "password": {"name": "bgp"}}}  # fmt: skip
    peers = plan.wanted(section("n1", "n2", routers=routers), {}).peers
    status = {"node": "n1", "classes": ["BGP", "Routes"], "updatePeriodSeconds": 1}
    written = [
        *(("BGPPeer", spec) for spec in peers.values()),
        ("BGPConfiguration", {"nodeToNodeMeshEnabled": False}), ("CalicoNodeStatus", status),
    ]  # fmt: skip
    for version, kinds in _schemas().items():
        for kind, spec in written:
            assert set(spec) <= set(kinds[kind]["properties"]), (version, kind)
            Draft202012Validator(kinds[kind]).validate(dict(spec))
    with pytest.raises(ValidationError):
        Draft202012Validator(_schemas()["own"]["BGPPeer"]).validate({"asNumber": "65001"})
