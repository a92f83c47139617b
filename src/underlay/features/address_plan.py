"""The address and MTU plan of an inventory: one model for every feature that lies on it. Pure.

The rule: whoever installs a CNI takes its numbers from here, and a plan that cannot work is told
with every problem at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from underlay.addressing.capacity import shortfalls
from underlay.addressing.chain import (
    ABLE,
    NodeChain,
    Place,
    Tunnel,
    beneath,
    chains,
    cni_value,
    layer,
)
from underlay.addressing.mtu import IPV4_MINIMUM, IPV6_MINIMUM
from underlay.addressing.overlap import Named, clashes, network
from underlay.features import address_families, address_routes
from underlay.features.wireguard import plan as wireguard
from underlay.features.wireguard.settings import WireGuard
from underlay.settings import Fleet, Problem, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network

#: What a network without any other word carries.
ETHERNET = 1500


@dataclass(frozen=True)
class Plan:
    """The plan of one cluster.

    network: the section that all nodes share; nodes: their chains; pod_mtu: of every pod; value:
    what the CNI is told, None when it has no such setting; advice: what the plan cannot promise.
    """

    network: Network
    nodes: tuple[NodeChain, ...]
    pod_mtu: int
    value: tuple[str, int] | None
    advice: tuple[str, ...]


def members(fleet: Fleet) -> list[HostSettings]:
    """The hosts that are nodes of the cluster: those whose network the inventory names."""
    return [host for host in fleet if host.names(Network)]


def address_of(host: HostSettings) -> str:
    """The node's own address beneath the pods: that of its overlay when the CNI lies on one."""
    section = host.section(Network)
    overlay = host.section(WireGuard).of(host.name).get(section.transport or "")
    if overlay is not None:
        return str(overlay.members[host.name].address)
    return section.address or ""


def places(fleet: Fleet) -> list[Place]:
    """What lies beneath the CNI on every node."""
    return [_place(host) for host in members(fleet)]


def plan_of(fleet: Fleet) -> Plan | None:
    """The plan, None when no host has a network section. Call `problems` first."""
    hosts = members(fleet)
    if not hosts:
        return None
    section = hosts[0].section(Network)
    below = places(fleet)
    on_top = layer(section.cni, section.encapsulation, v6=_v6(section, below))
    nodes = chains(below, on_top, section.pod_mtu)
    pod_mtu = nodes[0].hops[-1].mtu
    value = cni_value(section.cni, section.encapsulation, pod_mtu)
    return Plan(section, nodes, pod_mtu, value, tuple(_advice(section, below, value)))


def problems(fleet: Fleet) -> Iterator[Problem]:
    """Everything because of which the plan cannot work."""
    hosts = members(fleet)
    if not hosts:
        return
    first = hosts[0].section(Network)
    yield from _transports(hosts)
    yield from _networks(hosts)
    yield from address_families.problems(hosts)
    yield from address_routes.problems(hosts, places(fleet))
    yield from _sizes(fleet, first)
    if first.pod_cidr and first.cni != "none":
        for text in shortfalls(
            first.pod_cidr, nodes=len(hosts), max_pods=first.max_pods,
            calico=first.cni == "calico", prefix=first.node_prefix,
        ):  # fmt: skip
            yield Problem(
                hosts[0].name, "network.pod_cidr", text, shown(first.pod_cidr),
                "widen it, or change node_prefix or max_pods",
            )  # fmt: skip


def _place(host: HostSettings) -> Place:
    section = host.section(Network)
    overlay = host.section(WireGuard).of(host.name).get(section.transport or "")
    tunnel = None
    if overlay is not None and section.transport:
        tunnel = Tunnel(
            section.transport,
            wireguard.mtu(overlay, host.name),
            wireguard.underlay_mtu(overlay, host.name),
        )
    return Place(
        name=host.name,
        address=address_of(host),
        underlay=section.mtu or (tunnel.underlay if tunnel else ETHERNET),
        assumed=section.mtu is None and tunnel is None,
        esp=(section.esp.cipher, section.esp.nat_t) if section.esp else None,
        tunnel=tunnel,
    )


def _v6(section: Network, below: list[Place]) -> bool:
    """Whether any packet between nodes has an outer IPv6 header; nothing said means IPv4."""
    if section.transport:
        return False
    if address_families.carried_over_v6(section):
        return True
    found = [place.address for place in below if place.address] or [section.node_cidr or ""]
    return any(":" in text for text in found)


def _transports(hosts: list[HostSettings]) -> Iterator[Problem]:
    for host in hosts:
        section = host.section(Network)
        if section.transport is None:
            continue
        overlay = host.section(WireGuard).of(host.name).get(section.transport)
        path = "network.transport"
        if overlay is None:
            there = ", ".join(host.section(WireGuard).of(host.name)) or "none"
            yield Problem(
                host.name, path, f"not an overlay that {host.name} is a member of",
                shown(section.transport), f"use one of its overlays ({there}), or leave it out",
            )  # fmt: skip
            continue
        bare = section.cni != "none" and section.encapsulation == "none"
        if bare and not overlay.members[host.name].routed:
            yield Problem(
                host.name, "network.encapsulation",
                f"{section.transport} drops packets of pods that are not encapsulated",
                shown("none"),
                f"use vxlan, or list {host.name}'s pod block in its pod_cidrs of the overlay",
            )  # fmt: skip
        below, counts_on = beneath(_place(host))[-2], wireguard.underlay_mtu(overlay, host.name)
        if counts_on > below.mtu:
            yield Problem(
                host.name, path, f"its underlay_mtu is larger than what lies beneath ({below})",
                shown(counts_on), f"set underlay_mtu of {section.transport} to {below.mtu}",
            )  # fmt: skip


def _networks(hosts: list[HostSettings]) -> Iterator[Problem]:
    """All networks and overlays are disjoint; node addresses are unique and inside theirs."""
    section = hosts[0].section(Network)
    fixed = {
        "pod_cidr": section.pod_cidr, "pod_cidr_v6": section.pod_cidr_v6,
        "service_cidr": section.service_cidr, "service_cidr_v6": section.service_cidr_v6,
        "node_cidr": section.node_cidr, "node_local_dns": section.node_local_dns,
    }  # fmt: skip
    named = [Named(name, network(text)) for name, text in fixed.items() if text]
    named += [Named(name, network(text)) for name, text in section.remote_cidrs.items()]
    overlays = {
        name: overlay.overlay_cidr
        for host in hosts
        for name, overlay in host.section(WireGuard).of(host.name).items()
    }
    named += [Named(f"overlay {name}", cidr) for name, cidr in overlays.items()]
    for clash in clashes(named):
        if {clash.one.name, clash.other.name} == {"node_cidr", f"overlay {section.transport}"}:
            # on an overlay, the nodes' addresses are the overlay's
            continue
        yield Problem(
            hosts[0].name, "network", f"{clash}", None, "an address must mean one thing; move one"
        )
    seen: dict[str, str] = {}
    for host in hosts:
        own = host.section(Network)
        address = address_of(host)
        if own.node_cidr and address and ip_address(address) not in network(own.node_cidr):
            yield Problem(
                host.name, "network.address", f"outside node_cidr {own.node_cidr}", shown(address),
                "correct the address or node_cidr",
            )  # fmt: skip
        if address and address in seen:
            yield Problem(
                host.name, "network.address", f"{seen[address]} has it too", shown(address),
                "give each node its own",
            )  # fmt: skip
        seen.setdefault(address, host.name)


def _sizes(fleet: Fleet, section: Network) -> Iterator[Problem]:
    if section.cni != "none" and section.encapsulation not in ABLE[section.cni]:
        yield Problem(
            members(fleet)[0].name, "network.encapsulation", f"{section.cni} cannot do it",
            shown(section.encapsulation), f"use one of {', '.join(ABLE[section.cni])}",
        )  # fmt: skip
        return
    below = places(fleet)
    v6 = _v6(section, below)
    if section.encapsulation.startswith("ipip") and (v6 or section.pod_cidr_v6):
        yield Problem(
            members(fleet)[0].name, "network.encapsulation", "IPIP carries IPv4 in IPv4 only",
            shown(section.encapsulation), "use vxlan",
        )  # fmt: skip
    on_top = layer(section.cni, section.encapsulation, v6=v6)
    six = section.pod_cidr_v6 or (section.pod_cidr and ":" in section.pod_cidr)
    least = IPV6_MINIMUM if six else IPV4_MINIMUM
    for node in chains(below, on_top, section.pod_mtu):
        told = " -> ".join(map(str, node.hops[:-1]))
        if section.pod_mtu is not None and section.pod_mtu > node.room:
            yield Problem(
                node.name, "network.pod_mtu", f"larger than its path leaves ({told})",
                shown(section.pod_mtu), f"use at most {node.room}",
            )  # fmt: skip
        elif min(node.room, node.hops[-1].mtu) < least:
            yield Problem(
                node.name, "network.mtu", f"leaves pods less than {least} ({told})",
                shown(node.hops[0].mtu), "use a path that carries more, or fewer layers",
            )  # fmt: skip


def _advice(section: Network, below: list[Place], value: tuple[str, int] | None) -> Iterator[str]:
    if section.cni == "none":
        yield "network.cni is none: these are the sizes of the nodes' own packets"
    if any(place.assumed for place in below):
        names = [place.name for place in below if place.assumed]
        yield (
            f"network.mtu is not given for {len(names)} of {len(below)} nodes: {ETHERNET} is"
            " assumed; `underlay preflight` measures the path"
        )
    sizes = {beneath(place)[-1].mtu for place in below}
    if len(sizes) > 1:
        told = ", ".join(map(str, sorted(sizes)))
        yield f"paths differ ({told}): the smallest counts everywhere"
    if section.cni == "flannel" and value is None:
        yield (
            f"flannel: {section.encapsulation} has no MTU setting; pods get what is left of the MTU"
            " of the interface that flannel takes"
        )
    if section.cni == "calico" and (section.transport or section.esp):
        yield "Calico: its autodetection does not see the tunnel; the MTU must be set"
    if section.cni != "none":
        yield "a pod keeps its MTU until it is made again"
