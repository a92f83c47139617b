"""Who calls whom where a section names the hosts: overlays, IPsec links, reflectors. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from underlay.features.ipsec.plan import in_udp, is_gateway
from underlay.features.ipsec.settings import IPsec, Link
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.wireguard.plan import endpoint_of, linked
from underlay.features.wireguard.settings import Overlay, WireGuard, endpoint, numeric
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network


@dataclass(frozen=True)
class Call:
    """One host that opens a connection to another.

    address, port: where, "" and 0 for the target's own address and the port of the use;
    translated: a NAT on the way is declared; untried: why no probe can stand for it, or "".
    """

    source: str
    target: str
    address: str = ""
    port: int = 0
    translated: bool = False
    untried: str = ""


def wireguard(overlay: Overlay) -> tuple[Call, ...]:
    """Every member with each peer that it has an endpoint of."""
    return tuple(
        _to_endpoint(overlay, host, other)
        for host in overlay.members
        for other in overlay.members
        if host != other and linked(overlay, host, other) and endpoint_of(overlay, host, other)
    )


def _to_endpoint(overlay: Overlay, host: str, other: str) -> Call:
    where, port = endpoint(endpoint_of(overlay, host, other))
    address = numeric(where)
    return Call(
        host, other, str(address or ""), port, overlay.members[host].behind_nat,
        "" if address else f"its endpoint {where} is a name, which only the tunnel resolves",
    )  # fmt: skip


def ike(link: Link) -> tuple[Call, ...]:
    """Both gateways of a link, where both are hosts of the inventory and can be called."""
    ends = [end for end in link.ends.values() if end.gateway is not None]
    return tuple(
        Call(
            str(own.gateway), str(other.gateway), str(other.numeric or ""), 0,
            own.behind_nat or own.local_address is not None,
            "" if other.numeric else f"its address {other.address} is a name",
        )
        for own in ends
        for other in ends
        if own is not other and not other.behind_nat
    )  # fmt: skip


def reflected(section: RouteReflectors, names: Sequence[str]) -> tuple[Call, ...]:
    """Each reflector with every node, both ways. A group that selects by labels counts as all."""
    reflectors = {name for group in section.groups.values() for name in group.reflectors}
    return tuple(
        Call(one, other)
        for one in names
        for other in names
        if one != other and (one in reflectors or other in reflectors)
    )


def esp_in_udp(link: Link) -> bool:
    """Whether packets of a link go in UDP port 4500 and never as ESP."""
    return in_udp(link)


def in_overlay(settings: HostSettings) -> bool:
    """Whether a host is in an overlay: by the section, by its groups where there is none."""
    if settings.names(WireGuard):
        return bool(settings.section(WireGuard).of(settings.name))
    return bool({"hubs", "spokes"} & set(settings.groups))


def overlay_address(settings: HostSettings) -> str:
    """A host's address in the overlay that the CNI lies on, "" for none."""
    name = settings.section(Network).transport or ""
    overlay = settings.section(WireGuard).of(settings.name).get(name)
    return "" if overlay is None else str(overlay.members[settings.name].address)


def ends_link(settings: HostSettings) -> bool:
    """Whether a host ends an IPsec link: by the section, by its groups where there is none."""
    if settings.names(IPsec):
        links = settings.section(IPsec).present.values()
        return any(is_gateway(link, settings.name) for link in links)
    return "gateways" in settings.groups
