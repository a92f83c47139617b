"""The roles in docs/rbac are enough for their deploys and the way back, and no more.

The simulated API server grants exactly what the files say and refuses everything else.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.fake.rbac import Guard, granted, unused
from tests.fake.world import World, run

from underlay.errors import ClusterError
from underlay.features.kube_proxy.deploy import migrate_to_ipvs, roll_back_from_ipvs

FILE, DRAIN = "kube-proxy.yaml", "kube-proxy-drain.yaml"
#: Not used here: flannel, Cilium and Calico are not in the simulated cluster, and no time passes in
#: which a lease would be renewed.
ELSEWHERE = {
    "get felixconfigurations", "get installations", "get configmaps kube-flannel-cfg",
    "get configmaps cilium-config", "patch leases underlay-kube-proxy",
}  # fmt: skip

Make = Callable[[int], World]


def test_the_role_is_enough_and_all_of_it_is_used(make_world: Make) -> None:
    world, rights = make_world(2), granted(FILE)
    guard = Guard(world, rights)
    assert run(world, migrate_to_ipvs, {}).failed == set()
    assert world.modes == {"ipvs"}
    assert run(world, roll_back_from_ipvs, {}).failed == set()
    assert world.modes == {"iptables"}
    assert unused(rights, guard) == ELSEWHERE


def refused(world: World, settings: dict[str, object]) -> bool:
    """Whether a migration ends in an error."""
    try:
        return bool(run(world, migrate_to_ipvs, settings).failed)
    except ClusterError:
        return True


@pytest.mark.parametrize(
    "taken",
    ["list nodes", "list endpoints", "list daemonsets", "delete pods",
     "patch configmaps kube-proxy", "create leases", "get leases underlay-kube-proxy",
     "patch leases underlay-kube-proxy", "delete leases underlay-kube-proxy",
     "create selfsubjectaccessreviews"],
)  # fmt: skip
def test_without_any_of_it_nothing_is_changed(make_world: Make, taken: str) -> None:
    world = make_world(2)
    Guard(world, granted(FILE, without=taken))
    assert refused(world, {})
    assert world.modes == {"iptables"}
    assert world.revision == 1, "the ConfigMap was not written"


def test_a_drain_needs_the_second_file_and_all_of_it(make_world: Make) -> None:
    world, rights = make_world(2), granted(DRAIN)
    world.nodes[next(iter(world.nodes))].apps = 2
    guard = Guard(world, granted(FILE) | rights)
    assert run(world, migrate_to_ipvs, {"rollout": {"take_out": "drain"}}).failed == set()
    assert world.modes == {"ipvs"}
    assert unused(rights, guard) == set()


@pytest.mark.parametrize("taken", ["get nodes", "patch nodes", "create pods/eviction"])
def test_without_any_of_the_second_file_no_node_is_emptied(make_world: Make, taken: str) -> None:
    world = make_world(2)
    world.nodes[next(iter(world.nodes))].apps = 2
    Guard(world, granted(FILE) | granted(DRAIN, without=taken))
    assert refused(world, {"rollout": {"take_out": "drain"}})
    assert world.modes == {"iptables"}
    assert not any(node.gone or node.cordoned for node in world.nodes.values())
