"""Whole conversions: the order, a failure at every gate, power cuts, and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake import world as fake_world
from tests.fake.calico import Calico
from tests.fake.rbac import Guard, granted, unused
from tests.fake.world import Clock, Run, run_on

from underlay.cluster import drain, lease
from underlay.errors import ClusterError
from underlay.features.route_reflectors import deploy, proof, status, writes
from underlay.features.route_reflectors.deploy import reflect
from underlay.features.route_reflectors.store import STORAGE
from underlay.operations import kube_proxy

RR1, RR2, RR3 = "@fake/n1", "@fake/n2", "@fake/n3"
GROUP = {"cluster_id": "244.0.0.1", "reflectors": [RR1, RR2]}
FORWARD: dict[str, Any] = {"groups": {"all": GROUP}, "wait_seconds": 10}
BACK: dict[str, Any] = {"mesh": True, "wait_seconds": 10}

MakeCalico = Callable[[int], Calico]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> MakeCalico:
    """A cluster of so many nodes in a mesh, and time that passes only in sleep."""

    def make(count: int) -> Calico:
        world = Calico(count)
        monkeypatch.setattr(
            FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
        )
        monkeypatch.setattr(deploy, "api_of", lambda state, settings: world)
        clock = Clock()
        for module in (drain, proof, status, writes, kube_proxy, lease):
            monkeypatch.setattr(module, "time", clock)
        return world

    return make


def convert(world: Calico, settings: dict[str, Any] = FORWARD, **more: Any) -> Run:
    """One run of the deploy on all hosts."""
    return run_on(world.names, reflect, {"route_reflectors": {**settings, **more}})


def test_the_order_loses_no_route_and_the_second_run_does_nothing(make: MakeCalico) -> None:
    world = make(5)
    before = world.objects_of_bgp
    assert convert(world).failed == set()
    assert world.events == [
        "snapshot",
        f"cordon {RR1}", f"cordon {RR2}",
        f"put Node {RR1}", f"put Node {RR2}",
        "put BGPPeer underlay-rr-all", "put BGPPeer underlay-rr-reflectors",
        "mesh false",
        f"uncordon {RR1}", f"uncordon {RR2}",
        "committed",
    ]  # fmt: skip
    assert (world.mesh, world.reflectors) == (False, dict.fromkeys([RR1, RR2], "244.0.0.1"))
    assert world.unreached() == set()
    world.calls.clear()
    again = convert(world)
    assert (again.failed, again.operations) == (set(), 0)
    # one reading of the journal and three requests: no node is asked
    assert len(world.calls) <= 5
    world.events.clear()
    assert convert(world, BACK).failed == set()
    assert world.events == [
        "snapshot",
        "mesh true",
        f"cordon {RR1}", f"cordon {RR2}",
        "delete BGPPeer underlay-rr-all", "delete BGPPeer underlay-rr-reflectors",
        f"put Node {RR1}", f"put Node {RR2}",
        f"uncordon {RR1}", f"uncordon {RR2}",
        "committed",
    ]  # fmt: skip
    after = world.objects_of_bgp
    assert after.pop("BGPConfiguration default") == {"nodeToNodeMeshEnabled": True}
    assert after == before
    assert convert(world, BACK).operations == 0


def test_a_plan_shows_the_change_and_writes_nothing(
    make: MakeCalico, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As `--dry`: every body is called, and no operation is run."""
    world = make(4)
    monkeypatch.setattr(fake_world, "run_ops", lambda state: None)
    with caplog.at_level("INFO"):
        assert convert(world).operations > 5
    assert world.events == []
    assert not [c for c in world.calls if c.startswith(("create", "merge", "delete", "bird"))]
    assert "+nodeToNodeMeshEnabled: false" in caplog.text
    assert "routeReflectorClusterID: 244.0.0.1" in caplog.text


def test_a_pod_that_comes_between_check_and_cordon_ends_the_run(make: MakeCalico) -> None:
    world = make(4)

    def comes(call: str) -> bool:
        if call == f"merge:Node {RR1}" and ("Pod", "late") not in world.objects:
            world.pod(RR1, "late")
        return False

    world.refuse = comes
    assert convert(world).failed == {RR1}
    assert world.reflectors == {}
    assert f"uncordon {RR1}" in world.events
    assert world.events[-1] == "rolled-back"


def test_no_section_no_question(make: MakeCalico) -> None:
    world = make(3)
    assert run_on(world.names, reflect, {}).operations == 0
    assert world.calls == []


#: A call, and in which direction it is made.
BROKEN = [
    ("bird @fake/n4", False),
    ("bird @fake/n4", True),
    (f"merge:Node {RR2}", False),
    (f"merge:Node {RR2}", True),
    ("create:BGPPeer underlay-rr-reflectors", False),
    ("delete:BGPPeer underlay-rr-all", True),
    ("create:BGPConfiguration default", False),
    ("merge:BGPConfiguration default", True),
    ("journal:snapshot @fake/n1", False),
    ("journal:committed @fake/n1", False),
    ("journal:committed @fake/n1", True),
    ("create:Lease underlay-route-reflectors", False),
]


@pytest.mark.parametrize(("call", "back"), BROKEN)
def test_a_failure_at_any_step_takes_everything_back(
    make: MakeCalico, call: str, back: bool
) -> None:
    """What is broken works again once it has failed; a node that is silent once is asked again."""
    world = make(5)
    if back:
        assert convert(world).failed == set()
    before = world.objects_of_bgp
    world.calls.clear()
    world.refuse = lambda found: found.endswith(call) and sum(map(_same(call), world.calls)) == 1
    done = convert(world, BACK if back else FORWARD)
    assert any(map(_same(call), world.calls))
    silent = call.startswith("bird")
    assert bool(done.failed) is not silent
    if not silent:
        after = world.objects_of_bgp
        after.setdefault("BGPConfiguration default", {"nodeToNodeMeshEnabled": True})
        before.setdefault("BGPConfiguration default", {"nodeToNodeMeshEnabled": True})
        assert after == before
        assert ("Lease", "underlay-route-reflectors") not in world.objects
    assert world.unreached() == set()
    world.refuse = lambda found: False
    assert convert(world, BACK if back else FORWARD).failed == set()
    assert world.mesh is back


def _same(call: str) -> Callable[[str], bool]:
    return lambda found: found.endswith(call)


@pytest.mark.parametrize("ssh", [True, False], ids=["birdcl", "CalicoNodeStatus"])
def test_a_node_without_sessions_to_the_reflectors_keeps_the_mesh(
    make: MakeCalico, ssh: bool
) -> None:
    world = make(5)
    world.ssh = ssh
    world.deaf = {"@fake/n5"}
    assert convert(world).failed == {RR1}
    assert "mesh false" not in world.events
    assert (world.mesh, world.reflectors) == (True, {})
    assert world.events[-3:] == [f"uncordon {RR1}", f"uncordon {RR2}", "rolled-back"]


def test_a_route_lost_when_the_mesh_is_off_brings_it_back_first(make: MakeCalico) -> None:
    world = make(5)
    # the sessions look well, and end as soon as the mesh is off
    real = world.bird

    def bird(name: str) -> tuple[dict[str, bool], set[str]]:
        sessions, known = real(name)
        return sessions, known if world.mesh else known - {"@fake/n4"}

    world.bird = bird  # type: ignore[method-assign]
    assert convert(world).failed == {RR1}
    later = world.events[world.events.index("mesh false") :]
    assert later[1] == "mesh true"
    assert later.index("mesh true") < later.index("delete BGPPeer underlay-rr-all")
    assert (world.mesh, world.reflectors) == (True, {})


#: Gate -> (the run begins with reflectors, what it is asked for, when sessions are down: of which
#: nodes, given the mesh and the reflectors of that moment).
Down = Callable[[bool, set[str]], set[str]]
OTHERS = {"groups": {"all": {**GROUP, "reflectors": [RR2, RR3]}}, "wait_seconds": 10}
GATES: dict[str, tuple[bool, dict[str, Any], Down]] = {
    "mesh beside the reflectors, on the way back": (
        True, BACK, lambda mesh, reflectors: {"@fake/n4"} if mesh and reflectors else set(),
    ),
    "mesh alone, on the way back": (
        True, BACK, lambda mesh, reflectors: set() if reflectors else {RR1},
    ),
    "mesh while reflectors change": (
        True, OTHERS, lambda mesh, reflectors: {"@fake/n4"} if mesh else set(),
    ),
    "old and new reflectors": (
        True, OTHERS, lambda mesh, reflectors: {RR3} if {RR1, RR3} <= reflectors else set(),
    ),
    "what was retired is gone": (
        True, OTHERS,
        lambda mesh, reflectors: {RR1} if mesh and reflectors == {RR2, RR3} else set(),
    ),
    "reflectors alone": (
        True, OTHERS,
        lambda mesh, reflectors: {"@fake/n5"} if not mesh and RR3 in reflectors else set(),
    ),
    "sessions with the reflectors": (
        False, FORWARD, lambda mesh, reflectors: {"@fake/n4"} if reflectors else set(),
    ),
    "mesh off": (False, FORWARD, lambda mesh, reflectors: set() if mesh else {"@fake/n4"}),
}  # fmt: skip


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_that_does_not_open_gives_back_what_was_there(make: MakeCalico, gate: str) -> None:
    begun, asked, down = GATES[gate]
    world = make(6)
    if begun:
        assert convert(world).failed == set()
    before = world.objects_of_bgp
    real = world.bird
    shut: list[str] = []

    def bird(name: str) -> tuple[dict[str, bool], set[str]]:
        sessions, known = real(name)
        lost = down(world.mesh, set(world.reflectors))
        if name in lost:
            shut.append(name)
            return dict.fromkeys(sessions, False), {name}
        return sessions, known

    world.bird = bird  # type: ignore[method-assign]
    assert convert(world, asked).failed == {RR1}
    assert shut
    after = world.objects_of_bgp
    for found in (after, before):
        found.setdefault("BGPConfiguration default", {"nodeToNodeMeshEnabled": True})
    assert after == before
    assert world.events[-1] == "rolled-back"
    world.bird = real  # type: ignore[method-assign]
    assert convert(world, asked).failed == set()


def test_routes_of_before_prove_nothing_while_bird_is_behind(make: MakeCalico) -> None:
    """The gate after the mesh is off must not pass on what BIRD showed before."""
    world = make(4)
    world.lag = 7
    assert convert(world, wait_seconds=60).failed == set()
    off = world.calls.index("create:BGPConfiguration default")
    done = world.calls.index("journal:committed @fake/n1")
    reads = [call for call in world.calls[off:done] if call == "bird @fake/n4"]
    assert len(reads) >= 3


@pytest.mark.parametrize("served", [set(), {STORAGE}], ids=["nothing", "storage"])
def test_where_objects_are_written(
    make: MakeCalico, served: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    world = make(3)
    world.served = served
    if not served:
        with pytest.raises(Exception, match="serves neither"):
            convert(world)
        return
    assert convert(world).failed == set()
    assert world.mesh is False
    assert f"writes by {STORAGE} itself, as a last resort" in caplog.text


def test_pods_on_a_reflector_are_refused_drained_or_accepted(make: MakeCalico) -> None:
    world = make(4)
    world.pod(RR1, "web")
    world.pod(RR2, "host", hostNetwork=True)
    assert convert(world).failed == {RR1}
    assert world.events == []
    assert convert(world, loaded="drain").failed == set()
    assert ("Pod", "web") not in world.objects
    assert ("Pod", "host") in world.objects
    world = make(4)
    world.pod(RR1, "web")
    assert convert(world, loaded="accept").failed == set()
    assert ("Pod", "web") in world.objects
    assert not any("cordon" in event for event in world.events)
    world = make(4)
    world.pod(RR1, "web", volumes=[{"emptyDir": {}}])
    assert convert(world, loaded="drain").failed == {RR1}
    assert convert(world, loaded="drain", delete_local_data=True).failed == set()


def test_other_reflectors_are_taken_under_the_mesh(make: MakeCalico) -> None:
    world = make(6)
    assert convert(world).failed == set()
    world.events.clear()
    groups = {"all": {**GROUP, "reflectors": [RR2, RR3]}}
    assert convert(world, groups=groups).failed == set()
    order = [world.events.index(e) for e in
             ("mesh true", f"put Node {RR3}", f"put Node {RR1}", "mesh false")]  # fmt: skip
    assert order == sorted(order)
    assert set(world.reflectors) == {RR2, RR3}
    assert world.unreached() == set()


def test_a_gate_that_fails_between_two_sets_of_reflectors_gives_the_old_ones_back(
    make: MakeCalico,
) -> None:
    world = make(6)
    assert convert(world).failed == set()
    before = world.objects_of_bgp
    groups = {"all": {**GROUP, "reflectors": [RR2, RR3]}}
    real = world.bird

    def bird(name: str) -> tuple[dict[str, bool], set[str]]:
        sessions, known = real(name)
        return {a: up and a != "192.0.2.3" for a, up in sessions.items()}, known

    world.bird = bird  # type: ignore[method-assign]
    # the mesh needs n3 as well, so that only a gate about it can fail here
    world.bird = lambda name: bird(name) if RR3 in world.reflectors else real(name)  # type: ignore[method-assign]
    assert convert(world, groups=groups).failed == {RR1}
    assert world.objects_of_bgp == before


@pytest.mark.parametrize("racks", [True, False])
def test_clients_of_no_group_are_found_before_any_change(make: MakeCalico, racks: bool) -> None:
    world = make(8)
    rack_a = {"cluster_id": "244.0.0.1", "reflectors": [RR1, RR2], "clients": "rack == 'a'"}
    rack_b = {
        "cluster_id": "244.0.0.2", "reflectors": [RR3, "@fake/n4"], "clients": "rack == 'b'",
    }  # fmt: skip
    groups = {"a": rack_a, "b": rack_b} if racks else {"a": rack_a}
    assert bool(convert(world, groups=groups).failed) is not racks
    assert world.unreached() == set()
    assert bool(world.events) is racks


def test_another_as_number_and_missing_rights_are_refused(make: MakeCalico) -> None:
    world = make(3)
    assert convert(world, as_number=65001).failed == {RR1}
    world.refuse = lambda call: call == "may bgppeers"
    assert convert(world).failed == {RR1}
    assert world.events == []


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("BGPConfiguration", "default", "BGPConfiguration default: no AS number: 'x1'"),
        ("BGPPeer", "tor", "BGPPeer tor: no AS number: 'x1'"),
        ("Node", "@fake/n2", "@fake/n2: projectcalico.org/ASNumber: no AS number: 'x1'"),
    ],
)
def test_an_as_number_that_is_none_is_named(
    make: MakeCalico, kind: str, name: str, sentence: str
) -> None:
    world = make(3)
    found = world.objects.setdefault((kind, name), {"metadata": {"name": name}, "spec": {}})
    if kind == "Node":
        found["metadata"]["annotations"]["projectcalico.org/ASNumber"] = "x1"
    else:
        found["spec"] = {"asNumber": "x1"}
    with pytest.raises(ClusterError, match=sentence):
        convert(world)
    assert world.events == []


def test_an_as_number_in_two_halves(make: MakeCalico) -> None:
    world = make(3)
    world.objects["BGPConfiguration", "default"] = {
        "metadata": {"name": "default", "resourceVersion": "1"},
        "spec": {"asNumber": "1.10", "nodeToNodeMeshEnabled": True},
    }
    assert convert(world, as_number=65546).failed == set()


def test_a_session_that_was_down_before_is_told(
    make: MakeCalico, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(5)
    real = world.bird

    def bird(name: str) -> tuple[dict[str, bool], set[str]]:
        sessions, known = real(name)
        return {a: up and (name, a) != ("@fake/n4", "192.0.2.5") for a, up in sessions.items()}, (
            known
        )

    world.bird = bird  # type: ignore[method-assign]
    with caplog.at_level("INFO"):
        assert convert(world).failed == set()
    assert "n4: 1 sessions are not Established already, as with 192.0.2.5" in caplog.text


def test_a_lease_of_somebody_else_stops_the_run(make: MakeCalico) -> None:
    world = make(3)
    meta = {"name": "underlay-route-reflectors", "resourceVersion": "1"}
    held = {"metadata": meta, "spec": {"holderIdentity": "other/1", "renewTime": "0"}}
    world.objects["Lease", "underlay-route-reflectors"] = held
    count = iter(range(10**6))

    def renews(call: str) -> bool:
        if call.startswith("find:Lease"):
            held["spec"]["renewTime"] = str(next(count))
        return False

    world.refuse = renews
    assert convert(world).failed == {RR1}
    assert world.events == []


#: Before which calls the power is cut: a sample of all, and in the long loops every one.
EVERY = pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])


@EVERY
@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
@pytest.mark.parametrize("then", [False, True], ids=["again", "other way"])
def test_a_power_cut_at_any_call_and_a_second_run_converges(
    make: MakeCalico, back: bool, then: bool, step: int
) -> None:
    def prepared() -> Calico:
        world = make(3)
        if back:
            assert convert(world).failed == set()
        world.calls.clear()
        return world

    first = BACK if back else FORWARD
    second = (FORWARD if back else BACK) if then else first
    whole = prepared()
    assert convert(whole, first).failed == set()
    for cut in range(0, len(whole.calls), step):
        world = prepared()
        world.power = cut
        with contextlib.suppress(Exception):
            convert(world, first)
        assert world.dead, f"the cut before call {cut} did not happen"
        at = whole.calls[cut]
        # whenever the power goes, no node is cut off but one that is about to be a reflector
        assert world.unreached(frozenset({RR1, RR2})) == set(), at
        world.power, world.dead = None, False
        assert convert(world, second).failed == set(), at
        assert world.mesh is (second is BACK), at
        assert world.unreached() == set(), at
        assert not any(found["spec"].get("unschedulable") for (kind, _), found
                       in world.objects.items() if kind == "Node"), at  # fmt: skip
        assert convert(world, second).operations == 0, at


ROLE, DRAIN = "route-reflectors.yaml", "route-reflectors-drain.yaml"


def test_the_roles_are_enough_and_all_of_them_is_used(make: MakeCalico) -> None:
    world, rights = make(3), granted(ROLE, DRAIN)
    world.pod(RR1, "shop")
    world.ssh = False
    guard = Guard(world, rights)
    # another selector of the same nodes, so that a peer is changed too
    other = {**GROUP, "clients": "has(rack)"}
    for settings in (FORWARD, {**FORWARD, "groups": {"all": other}}, BACK):
        assert convert(world, settings, loaded="drain").failed == set()
    assert world.mesh
    # no time passes in which a lease would be renewed
    assert unused(rights, guard) == {
        "patch leases underlay-route-reflectors", "get /apis/crd.projectcalico.org/v1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "taken",
    ["list nodes", "patch nodes", "list pods", "list bgppeers", "create bgppeers",
     "delete bgppeers", "get bgpconfigurations", "create bgpconfigurations", "create leases",
     "patch leases underlay-route-reflectors", "create selfsubjectaccessreviews"],
)  # fmt: skip
def test_without_any_of_the_role_nothing_is_changed(make: MakeCalico, taken: str) -> None:
    world = make(3)
    before = world.objects_of_bgp
    Guard(world, granted(ROLE, without=taken))
    try:
        failed = convert(world).failed
    except ClusterError:
        failed = {RR1}
    assert failed
    assert world.objects_of_bgp == before
