"""The second family of a dual-stack cluster: what the plan needs of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.addressing.capacity import V6, shortfalls
from underlay.addressing.overlap import network
from underlay.settings import Problem, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network

#: Bits by which the controller-manager can cut an IPv6 range into blocks of nodes
#: (pkg/controller/nodeipam/ipam/cidrset, clusterSubnetMaxDiff).
MOST_BITS = 16

#: Encapsulations with a tunnel of its own for each family.
_OF_EACH = ("vxlan", "wireguard")


def carried_over_v6(section: Network) -> bool:
    """Whether packets of IPv6 pods go into a tunnel of their own, whose outer header is larger."""
    six = section.pod_cidr_v6 or (section.pod_cidr and ":" in section.pod_cidr)
    return bool(six) and section.encapsulation.startswith(_OF_EACH)


def problems(hosts: list[HostSettings]) -> Iterator[Problem]:
    """Of the shared keys and of each host's second address."""
    first = hosts[0].section(Network)
    for key in ("pod_cidr_v6", "service_cidr_v6"):
        yield from _is_v6(hosts[0].name, key, getattr(first, key))
    for host in hosts:
        yield from _is_v6(host.name, "address_v6", host.section(Network).address_v6)
    for key in ("pod_cidr", "service_cidr"):
        one, second = getattr(first, key), getattr(first, f"{key}_v6")
        if one and second and ":" in one:
            yield Problem(
                hosts[0].name, f"network.{key}", f"is IPv6, and so is {key}_v6", shown(one),
                "give IPv4 here and IPv6 there",
            )  # fmt: skip
    if first.pod_cidr_v6 and ":" in first.pod_cidr_v6 and first.cni != "none":
        yield from _pods(hosts, first, first.pod_cidr_v6)


def _is_v6(host: str, key: str, text: str | None) -> Iterator[Problem]:
    if text and ":" not in text:
        yield Problem(
            host, f"network.{key}", "is not IPv6", shown(text), "write it as fd00:10::/56"
        )


def _pods(hosts: list[HostSettings], section: Network, cidr: str) -> Iterator[Problem]:
    name = hosts[0].name
    if section.transport:
        yield Problem(
            name, "network.pod_cidr_v6", f"the overlay {section.transport} has IPv4 addresses only",
            shown(cidr), "take it out, or take network.transport out",
        )  # fmt: skip
    path, bits = "network.pod_cidr_v6", section.node_prefix_v6 or V6
    if section.cni == "flannel" and bits - network(cidr).prefixlen > MOST_BITS:
        yield Problem(
            name, path, f"kube-controller-manager refuses it with blocks of /{bits}", shown(cidr),
            f"use /{bits - MOST_BITS} or smaller, or change node_prefix_v6",
        )  # fmt: skip
    for text in shortfalls(
        cidr, nodes=len(hosts), max_pods=section.max_pods,
        calico=section.cni == "calico", prefix=section.node_prefix_v6,
    ):  # fmt: skip
        yield Problem(
            name, path, text, shown(cidr), "widen it, or change node_prefix_v6 or max_pods"
        )
