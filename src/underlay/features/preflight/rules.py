"""What must hold between the network sections of all hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.settings import Fleet, Problem, shown
from underlay.settings.network import Network

#: Keys that describe the cluster, not a host.
SHARED = (
    "pod_cidr", "service_cidr", "pod_cidr_v6", "service_cidr_v6", "cni", "encapsulation", "bgp",
    "typha", "remote_cidrs",
)  # fmt: skip


def one_plan(fleet: Fleet) -> Iterator[Problem]:
    """A cluster has one pod network: the shared keys are the same on every host."""
    hosts = list(fleet)
    for host in hosts[1:]:
        for key in SHARED:
            first = getattr(hosts[0].section(Network), key)
            own = getattr(host.section(Network), key)
            if own != first:
                yield Problem(
                    host.name, f"network.{key}", f"differs from {hosts[0].name}'s {shown(first)}",
                    shown(own), "set it once, in group_data/all.py",
                )  # fmt: skip


RULES = (one_plan,)
