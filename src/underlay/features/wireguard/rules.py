"""What must hold across the members of an overlay, found before any host is connected. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations

from underlay.addressing.mtu import IPV4_MINIMUM, inner
from underlay.features.wireguard import plan
from underlay.features.wireguard.settings import (
    Overlay,
    WireGuard,
    endpoint,
    numeric,
)
from underlay.operations.wireguard_plan import safe
from underlay.settings import Fleet, Problem, shown

#: A rule about one overlay: problems as (path below the overlay, what, got, do).
_Found = Iterator[tuple[str, str, object, str]]


def each_overlay(fleet: Fleet) -> Iterator[Problem]:
    """Every rule on every overlay; a section that all hosts share is told once."""
    # a host with a mistake in another section is there all the same
    known = fleet.names
    for host in fleet:
        section = host.section(WireGuard)
        for name, overlay in section.overlays.items():
            if overlay.state == "absent":
                continue
            path = f"{WireGuard.KEY}.overlays.{name}"
            for below, what, got, do in _problems(overlay, known):
                yield Problem(
                    host.name, f"{path}.{below}", what, shown(got) if got is not None else None, do
                )
        yield from _between(host.name, section)


def one_definition(fleet: Fleet) -> Iterator[Problem]:
    """Every host must be told the same of an overlay, or one side would not know the other."""
    first: dict[str, tuple[str, Overlay]] = {}
    for host in fleet:
        for name, overlay in host.section(WireGuard).overlays.items():
            where, known = first.setdefault(name, (host.name, overlay))
            if known != overlay:
                yield Problem(
                    host.name, f"{WireGuard.KEY}.overlays.{name}", f"differs from what {where} has",
                    None, "write it once, in group_data/all.py",
                )  # fmt: skip
    for host in fleet:
        section = host.section(WireGuard)
        for name, (where, overlay) in first.items():
            if host.name in overlay.members and name not in section.overlays:
                yield Problem(
                    host.name, f"{WireGuard.KEY}.overlays", f"lacks {name}, which {where} has",
                    None, "write it once, in group_data/all.py",
                )  # fmt: skip


RULES = (each_overlay, one_definition)


def _problems(overlay: Overlay, known: frozenset[str]) -> _Found:
    named = list(_names(overlay, known))
    yield from named
    yield from _addresses(overlay)
    # what follows walks from member to member, which needs every name to be one
    if not named and overlay.nodes:
        rules: tuple[Callable[[Overlay], _Found], ...] = (_ways, _networks, _loops, _sizes, _hubs)
        for rule in rules:
            yield from rule(overlay)


def _names(overlay: Overlay, known: frozenset[str]) -> _Found:
    """Every name must be a host of the inventory and a member."""
    for name in overlay.nodes:
        if name not in known:
            yield f"nodes.{name}", "no host of that name in the inventory", name, "correct the name"
    yield from _hub_names(overlay)
    files: dict[str, str] = {}
    for name in overlay.nodes:
        other = files.setdefault(safe(name), name)
        if other != name:
            do = "rename one: they differ by characters alone that a file name has not"
            yield f"nodes.{name}", f"its keys would be in the files of {other}", name, do
    for name, node in overlay.nodes.items():
        for key, others in (("direct", node.direct), ("reach", tuple(node.reach))):
            for other in others:
                if other not in overlay.nodes or other == name:
                    do = "name another member"
                    yield f"nodes.{name}.{key}", "not another member", other, do


def _hub_names(overlay: Overlay) -> _Found:
    if len(overlay.nodes) > 1 and not overlay.hubs:
        yield "hubs", "spokes without any hub", (), "name at least one hub"
    for hub in overlay.hubs:
        if hub not in overlay.nodes:
            yield "hubs", "a hub that is not in nodes", hub, "add it to nodes, or correct the name"
    if len(set(overlay.hubs)) != len(overlay.hubs):
        yield "hubs", "a hub is named twice", overlay.hubs, "name each hub once"


def _addresses(overlay: Overlay) -> _Found:
    network = overlay.overlay_cidr
    seen: dict[IPv4Address, str] = {}
    for name, node in overlay.nodes.items():
        path = f"nodes.{name}.address"
        ends = (network.network_address, network.broadcast_address)
        if node.address not in network or (network.prefixlen < 31 and node.address in ends):
            yield (
                path,
                f"not a host address of {network}",
                str(node.address),
                f"use one of {network}",
            )
        if node.address in seen:
            do = f"{seen[node.address]} has it too; give each node its own"
            yield path, "two nodes with one overlay address", str(node.address), do
        seen.setdefault(node.address, name)


def _ways(overlay: Overlay) -> _Found:
    """For every two peers one must be able to call the other."""
    for one, other in combinations(overlay.nodes, 2):
        if not plan.linked(overlay, one, other):
            continue
        there = plan.endpoint_of(overlay, one, other)
        back = plan.endpoint_of(overlay, other, one)
        for name, node, where in (
            (one, overlay.nodes[one], there), (other, overlay.nodes[other], back)
        ):  # fmt: skip
            peer = other if name == one else one
            if node.behind_nat and not where:
                yield (
                    f"nodes.{name}", f"behind NAT, and {peer} has no endpoint it could call", None,
                    f"give {peer} an endpoint, or name one in nodes.{name}.reach",
                )  # fmt: skip
        if not there and not back:
            yield (
                f"nodes.{other}.endpoint", f"neither it nor {one} can call the other", None,
                "give an endpoint as host:port",
            )  # fmt: skip
        elif not (there and back) and not any(
            overlay.nodes[name].behind_nat for name in (one, other)
        ):
            silent = other if there == "" else one
            yield (
                f"nodes.{silent}", "no endpoint and not behind NAT: nobody would keep its way open",
                None, "give an endpoint as host:port, or say behind_nat: True",
            )  # fmt: skip


def _networks(overlay: Overlay) -> _Found:
    """No network may belong to two members: the later one would take it from the earlier."""
    routed = [(name, cidr) for name, node in overlay.nodes.items() for cidr in node.routed]
    for (one, a), (other, b) in combinations(routed, 2):
        if a.overlaps(b):
            do = f"{one} has {a}; give each node networks of its own"
            yield f"nodes.{other}.pod_cidrs", "allowed IPs overlap", str(b), do
    for name, cidr in routed:
        if cidr.overlaps(overlay.overlay_cidr):
            do = f"it must lie outside {overlay.overlay_cidr}"
            yield f"nodes.{name}.pod_cidrs", "overlaps the overlay itself", str(cidr), do


def _loops(overlay: Overlay) -> _Found:
    """An endpoint inside the tunnel would send the tunnel's own packets into the tunnel."""
    inside = [overlay.overlay_cidr, *(c for node in overlay.nodes.values() for c in node.routed)]
    for name, node in overlay.nodes.items():
        for key, text in (("endpoint", node.endpoint), *node.reach.items()):
            address = numeric(endpoint(text)[0]) if text else None
            within = [cidr for cidr in inside if address is not None and address in cidr]
            if within:
                path = f"nodes.{name}.{key if key == 'endpoint' else f'reach.{key}'}"
                yield path, f"lies in {within[0]}, behind the tunnel", text, "use an outer address"


def _sizes(overlay: Overlay) -> _Found:
    size = plan.mtu(overlay, next(iter(overlay.nodes)))
    for name in overlay.nodes:
        room = plan.most(overlay, name)
        if size > room:
            below = plan.underlay_mtu(overlay, name)
            yield (
                "mtu", f"{name}'s underlay of {below} leaves {room}", size, f"use at most {room}"
            )  # fmt: skip
    pods = inner(size, plan.CNI[overlay.cni])
    if pods < IPV4_MINIMUM:
        yield "mtu", f"leaves pods {pods}, below {IPV4_MINIMUM}", size, "raise underlay_mtu or mtu"
    if overlay.pod_mtu is not None and overlay.pod_mtu > pods:
        told = " -> ".join(map(str, plan.sizes(overlay, next(iter(overlay.nodes)))))
        yield "pod_mtu", f"larger than the chain leaves ({told})", overlay.pod_mtu, f"use {pods}"


def _hubs(overlay: Overlay) -> _Found:
    spokes = len(overlay.nodes) - len(overlay.hubs)
    if len(overlay.hubs) == 1 and spokes > 1 and not overlay.accept_single_hub:
        yield (
            "hubs", "one hub alone carries everything between spokes", overlay.hubs[0],
            "name a second one, or say accept_single_hub: True",
        )  # fmt: skip
    peers = len(overlay.nodes) - 1
    if overlay.hubs and peers > overlay.hub_capacity:
        do = "raise hub_capacity if the hub can carry them, or split the overlay"
        yield "hub_capacity", f"{peers} peers at each hub", overlay.hub_capacity, do


def _between(host: str, section: WireGuard) -> Iterator[Problem]:
    """Ports and networks of the overlays of one host, and of what else the inventory knows."""
    mine = section.of(host)
    for (one, a), (other, b) in combinations(mine.items(), 2):
        if a.port == b.port:
            yield Problem(
                host, f"{WireGuard.KEY}.overlays.{other}.port", f"{one} listens there too",
                shown(b.port), "give each overlay of a host its own port",
            )  # fmt: skip
        for cidr, theirs in _overlaps(_all(a), _all(b)):
            yield Problem(
                host, f"{WireGuard.KEY}.overlays.{other}", f"{theirs} overlaps {cidr} of {one}",
                None, "one host needs one way to each network; choose others",
            )  # fmt: skip
    for name, overlay in mine.items():
        for label, network in section.known_cidrs.items():
            for cidr, _ in _overlaps(_all(overlay), [network]):
                yield Problem(
                    host, f"{WireGuard.KEY}.overlays.{name}",
                    f"{cidr} overlaps known_cidrs.{label} ({network})", None, "choose another",
                )  # fmt: skip


def _all(overlay: Overlay) -> list[IPv4Network]:
    return [overlay.overlay_cidr, *(c for node in overlay.nodes.values() for c in node.routed)]


def _overlaps(
    these: list[IPv4Network], those: list[IPv4Network]
) -> list[tuple[IPv4Network, IPv4Network]]:
    return [(a, b) for a in these for b in those if a.overlaps(b)]
