"""What must hold between hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.sysctl.settings import Sysctl
from underlay.settings import Fleet, Problem, shown

#: What one ConfigMap or one run has only once.
_SHARED = (
    "mode", "iptables", "ipvs", "nftables", "conntrack", "node_port_addresses", "rollout",
    "on_failure",
)  # fmt: skip

MAX = "net.netfilter.nf_conntrack_max"


def sets_conntrack_max(sysctl: Sysctl) -> bool:
    """Whether a host's own section sets the size of its connection tracking table."""
    return MAX in sysctl.wanted()


def one_owner(fleet: Fleet) -> Iterator[Problem]:
    """`nf_conntrack_max` has one owner on every host: kube-proxy or the node, never both."""
    for host in fleet:
        per_core = host.section(KubeProxy).conntrack.max_per_core
        by_node = sets_conntrack_max(host.section(Sysctl))
        if by_node and per_core:
            yield Problem(
                host.name, "kube_proxy.conntrack.max_per_core",
                f"kube-proxy would write {MAX}, which the sysctl section sets too",
                shown(per_core), "set it to 0, or take the key out of sysctl",
            )  # fmt: skip


def one_configuration(fleet: Fleet) -> Iterator[Problem]:
    """One ConfigMap serves all nodes, so hosts cannot want different things of it."""
    first: KubeProxy | None = None
    for host in fleet:
        own = host.section(KubeProxy)
        if first is None:
            first = own
        for name in _SHARED:
            wanted, got = getattr(first, name), getattr(own, name)
            if got != wanted:
                yield Problem(
                    host.name, f"kube_proxy.{name}",
                    "differs from other hosts, which one ConfigMap serves", shown(got),
                    "give it once, in group_data/all.py",
                )  # fmt: skip


def unique_nodes(fleet: Fleet) -> Iterator[Problem]:
    """Two hosts cannot be one node."""
    seen: dict[str, str] = {}
    for host in fleet:
        name = host.section(KubeProxy).node_name or host.name
        if name in seen:
            yield Problem(
                host.name, "kube_proxy.node_name", f"is the node of {seen[name]} too", shown(name),
                "name the node of this host",
            )  # fmt: skip
        seen.setdefault(name, host.name)


RULES = (one_configuration, one_owner, unique_nodes)
