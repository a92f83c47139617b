"""Whole migrations: order, a failure at every step, a power cut at every call, and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from tests.fake.world import IPTABLES, Killed, World, run

from underlay.features.kube_proxy.deploy import migrate_to_ipvs, roll_back_from_ipvs

MakeWorld = Callable[[int], World]


def migrate(world: World, **settings: object) -> set[str]:
    """Migrate; the failed hosts."""
    return run(world, migrate_to_ipvs, settings).failed


def _dies(world: World, call: str, at: str) -> bool:
    """Cut the power at a call."""
    world.dead = world.dead or call == at
    return world.dead


def switches(world: World) -> list[str]:
    """Hosts whose kube-proxy was restarted, in order."""
    return [call.split()[1] for call in world.calls if call.startswith("delete:Pod")]


def test_every_node_in_inventory_order_then_nothing_then_back(make_world: MakeWorld) -> None:
    world = make_world(3)
    assert migrate(world) == set()
    assert world.modes == {"ipvs"}
    assert "scheduler: rr" in world.config
    assert switches(world) == list(world.nodes)
    world.calls.clear()
    again = run(world, migrate_to_ipvs, {})
    assert (again.failed, again.operations) == (set(), 0)
    assert sorted(call for call in world.calls if not call.endswith(" api")) == [
        f"node {name}" for name in world.nodes
    ]
    world.calls.clear()
    assert run(world, roll_back_from_ipvs, {}).failed == set()
    assert world.modes == {"iptables"}
    assert world.config == IPTABLES
    assert not any(node.leftovers for node in world.nodes.values())
    assert run(world, roll_back_from_ipvs, {}).operations == 0


def test_canary_first_then_batches(make_world: MakeWorld) -> None:
    world = make_world(5)
    assert migrate(world, rollout={"canary": 1, "batch": 2}) == set()
    order = switches(world)
    names = list(world.nodes)
    assert order[0] == names[0]
    assert set(order[1:3]) == set(names[1:3])
    assert set(order[3:]) == set(names[3:])
    proved = world.calls.index(f"journal:committed {names[0]}")
    assert proved < world.calls.index(f"delete:Pod {names[1]}")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    "step",
    ["probes", "journal:snapshot", "delete:Pod", "pod", "start", "journal:switched", "traffic",
     "journal:committed"],
)  # fmt: skip
def test_a_failure_at_any_step_of_any_node_takes_everything_back(
    make_world: MakeWorld, step: str, number: int
) -> None:
    world = make_world(3)
    broken = f"@fake/n{number}"
    # what is broken works again as soon as the node has to go back, but for a lost journal
    world.refuse = lambda call: (
        call == f"{step} {broken}"
        and "merge:ConfigMap api"
        not in (
            world.calls[1 + world.calls.index("merge:ConfigMap api") :]
            if "merge:ConfigMap api" in world.calls
            else []
        )
    )
    failed = migrate(world)
    assert broken in failed
    assert world.modes == {"iptables"}
    assert world.config == IPTABLES
    assert not any(node.leftovers for node in world.nodes.values())
    world.refuse = lambda call: False
    assert migrate(world) == set()
    assert world.modes == {"ipvs"}


def test_no_node_is_touched_when_one_lacks_the_scheduler(make_world: MakeWorld) -> None:
    world = make_world(3)
    world.nodes["@fake/n3"].modules = frozenset({"ip_vs", "nf_conntrack"})
    assert migrate(world) == set(world.nodes)
    assert world.modes == {"iptables"}
    assert world.config == IPTABLES
    assert not any(call.startswith(("journal", "delete", "merge")) for call in world.calls)


def test_the_api_server_refuses_the_configuration(make_world: MakeWorld) -> None:
    world = make_world(2)
    world.refuse = lambda call: call == "merge:ConfigMap api"
    assert migrate(world) == set(world.nodes)
    assert switches(world) == []


#: Before which calls the power is cut: a sample of all, and in the long loops every one.
EVERY = pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])


@EVERY
@pytest.mark.parametrize("back", [False, True], ids=["migration", "rollback"])
def test_a_power_cut_at_any_call_and_a_second_run_converges(
    make_world: MakeWorld, back: bool, step: int
) -> None:
    """The state after a cut is what had been done by then: on nodes, in journals, in the API."""

    def prepared() -> World:
        world = make_world(2)
        if back:
            assert migrate(world) == set()
        world.calls.clear()
        return world

    deploy = roll_back_from_ipvs if back else migrate_to_ipvs
    whole = prepared()
    assert run(whole, deploy, {}).failed == set()
    wanted = whole.modes
    for cut in range(0, len(whole.calls), step):
        world = prepared()
        world.power = cut
        with contextlib.suppress(Exception):
            run(world, deploy, {})
        assert world.dead, f"the cut before call {cut} did not happen"
        world.power, world.dead = None, False
        assert run(world, deploy, {}).failed == set(), whole.calls[cut]
        assert world.modes == wanted, whole.calls[cut]
        assert world.config == whole.config, whole.calls[cut]
        assert not any(node.leftovers for node in world.nodes.values()) or wanted == {"ipvs"}
        assert run(world, deploy, {}).operations == 0, whole.calls[cut]


def test_a_second_run_waits_for_the_kube_proxy_that_the_first_restarted(
    make_world: MakeWorld,
) -> None:
    world = make_world(2)
    first = next(iter(world.nodes))
    world.silence = 9
    world.refuse = lambda call: _dies(world, call, f"mode {first}")
    with contextlib.suppress(Killed):
        migrate(world)
    world.dead, world.refuse = False, lambda call: False
    assert world.nodes[first].silent > 2
    assert migrate(world) == set()
    assert world.modes == {"ipvs"}
    # the first once more: with which copy of the configuration it came up is not known
    assert switches(world) == [first, *world.nodes]


def test_a_kube_proxy_that_is_silent_without_a_run_is_refused(make_world: MakeWorld) -> None:
    world = make_world(2)
    names = list(world.nodes)
    world.nodes[names[0]].silent = 10**6
    assert migrate(world) == set(names)
    assert switches(world) == []


@EVERY
@pytest.mark.parametrize("broken", ["@fake/n1", "@fake/n2"])
def test_a_power_cut_then_a_node_that_fails_takes_back_what_both_runs_did(
    make_world: MakeWorld, broken: str, step: int
) -> None:
    whole = make_world(2)
    assert migrate(whole) == set()
    for cut in range(0, len(whole.calls), step):
        world = make_world(2)
        world.power = cut
        with contextlib.suppress(Exception):
            migrate(world)
        world.power, world.dead = None, False
        world.refuse = lambda call: call == f"traffic {broken}"
        failed = migrate(world)
        at = whole.calls[cut]
        assert world.modes == ({"iptables"} if failed else {"ipvs"}), at
        assert (world.config == IPTABLES) == bool(failed), at
        assert not failed or not any(node.leftovers for node in world.nodes.values()), at


def test_a_pause_between_batches_that_a_failure_ends(make_world: MakeWorld) -> None:
    world = make_world(3)
    assert migrate(world, rollout={"pause": 600}) == set()
    assert world.modes == {"ipvs"}
    # twice between three batches; time passes only while somebody sleeps
    assert 2 * 600 <= world.clock.now < 2 * 2 * 600 + 300
    world = make_world(3)
    world.refuse = lambda call: call == f"traffic {next(iter(world.nodes))}"
    assert migrate(world, rollout={"pause": 600}) == set(world.nodes)
    assert world.clock.now < 600


def test_a_node_is_emptied_before_its_switch_and_takes_pods_again(make_world: MakeWorld) -> None:
    world = make_world(2)
    first, second = world.nodes
    world.nodes[first].apps = 3
    world.nodes[second].cordoned = True
    assert migrate(world, rollout={"take_out": "drain"}) == set()
    assert world.modes == {"ipvs"}
    steps = [c for c in world.calls if c.partition(" ")[0] in ("cordon", "evict", "uncordon")
             or c.startswith("delete:Pod") or c.startswith("journal:committed")]  # fmt: skip
    assert [step for step in steps if step.endswith(first)] == [
        f"cordon {first}", *3 * [f"evict {first}"], f"delete:Pod {first}", f"uncordon {first}",
        f"journal:committed {first}",
    ]  # fmt: skip
    # somebody else had cordoned it, and it stays so
    assert [step.partition(" ")[0] for step in steps if step.endswith(second)] == [
        "delete:Pod", "journal:committed"]  # fmt: skip
    assert world.nodes[second].cordoned
    assert world.nodes[first].marks == {}


@pytest.mark.parametrize("what", ["budget", "traffic", "start", "journal:committed"])
def test_a_node_that_fails_takes_pods_again_when_it_is_back(
    make_world: MakeWorld, what: str
) -> None:
    world = make_world(2)
    first = next(iter(world.nodes))
    world.nodes[first].apps = 1
    written = ["merge:ConfigMap api"]
    world.refuse = lambda call: (
        call == f"{what} {first}" and world.calls.count(written[0]) < (3 if what != "start" else 2)
    )
    assert migrate(world, rollout={"take_out": "drain"}) == set(world.nodes)
    assert world.modes == {"iptables"}
    assert not any(node.cordoned or node.marks for node in world.nodes.values())


def test_a_power_cut_leaves_no_node_cordoned_for_ever(make_world: MakeWorld) -> None:
    whole = make_world(2)
    settings = {"take_out": "cordon"}
    assert migrate(whole, rollout=settings) == set()
    for cut in range(0, len(whole.calls), 3):
        world = make_world(2)
        world.power = cut
        with contextlib.suppress(Exception):
            migrate(world, rollout=settings)
        world.power, world.dead = None, False
        assert migrate(world, rollout=settings) == set(), whole.calls[cut]
        assert not any(node.cordoned or node.marks for node in world.nodes.values()), cut


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_many_nodes_keep_their_order(make_world: MakeWorld, count: int) -> None:
    world = make_world(count)
    assert migrate(world, rollout={"batch": "20%"}) == set()
    order = switches(world)
    names = list(world.nodes)
    assert order[0] == names[0]
    batch = count // 5
    for start in range(1, count, batch):
        assert set(order[start : start + batch]) == set(names[start : start + batch])
