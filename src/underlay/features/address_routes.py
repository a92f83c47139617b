"""Pods without a tunnel, and nodes of IPv6: what the nodes' own network must give. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.addressing.chain import Place
from underlay.addressing.mtu import IPV6_MINIMUM
from underlay.settings import Problem, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network


def problems(hosts: list[HostSettings], places: list[Place]) -> Iterator[Problem]:
    """Of routes between nodes, and of paths that IPv6 does not take."""
    first = hosts[0].section(Network)
    bare = first.encapsulation == "none" or first.encapsulation.startswith("ipip")
    if first.cni == "calico" and bare and not first.bgp:
        yield Problem(
            hosts[0].name, "network.bgp", f"{first.encapsulation} needs the routes that BGP brings",
            shown(first.bgp), "set it to True, or use vxlan",
        )  # fmt: skip
    if first.cni == "flannel" and first.encapsulation == "none":
        yield from _one_link(hosts)
    for place in places:
        if ":" in place.address and place.underlay < IPV6_MINIMUM:
            yield Problem(
                place.name, "network.mtu", f"nodes talk IPv6, which needs {IPV6_MINIMUM}",
                shown(place.underlay), "use a path that carries more",
            )  # fmt: skip


def _one_link(hosts: list[HostSettings]) -> Iterator[Problem]:
    """host-gw writes each node as a gateway; networks that differ are no one link."""
    first = hosts[0].section(Network).node_cidr
    for host in hosts[1:]:
        own = host.section(Network).node_cidr
        if own != first:
            yield Problem(
                host.name, "network.node_cidr",
                f"host-gw needs one link for all nodes, and {hosts[0].name} is in {first}",
                shown(own), "use vxlan-cross-subnet, or one node_cidr for all",
            )  # fmt: skip
