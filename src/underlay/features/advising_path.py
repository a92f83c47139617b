"""What lies beneath the CNI, as far as the sections of an inventory say it. Pure."""

from __future__ import annotations

from typing import Any

from underlay.addressing import chain
from underlay.addressing.mtu import Hop
from underlay.addressing.mtu import esp as esp_room
from underlay.features import address_plan
from underlay.features.ipsec import plan as ipsec
from underlay.features.ipsec import proposals
from underlay.features.ipsec.settings import IPsec, Link
from underlay.features.wireguard import plan as wireguard
from underlay.features.wireguard.settings import WireGuard
from underlay.settings import Fleet
from underlay.settings.network import Network


def transport(fleet: Fleet) -> str | None:
    """The overlay beneath the CNI: declared, or the only one that every host is a member of."""
    hosts = list(fleet)
    declared = hosts[0].section(Network).transport
    if declared is not None:
        return declared
    found = [set(host.section(WireGuard).of(host.name)) for host in hosts]
    shared = sorted(set.intersection(*found))
    return shared[0] if len(shared) == 1 else None


def beneath(fleet: Fleet) -> tuple[Hop, ...]:
    """The hops of the narrowest node, up to what the CNI sees."""
    name, hosts = transport(fleet), list(fleet)
    found = [chain.beneath(place) for place in address_plan.places(fleet)]
    if name is not None and hosts[0].section(Network).transport is None:
        overlays = [(h.name, h.section(WireGuard).of(h.name)[name]) for h in hosts]
        found = [wireguard.sizes(overlay, host)[:2] for host, overlay in overlays]
    elif (link := _link(fleet)) is not None:
        low = min(end.underlay_mtu for end in link.ends.values())
        found = [
            (Hop("underlay", 0, low), Hop("esp", low - ipsec.largest(link), ipsec.largest(link)))
        ]
    return min(found, key=lambda hops: hops[-1].mtu, default=())


def esp(fleet: Fleet) -> dict[str, Any] | None:
    """`network.esp` for the link between the sites, None when it is declared or not needed."""
    link = _link(fleet)
    if link is None:
        return None
    udp, low = ipsec.in_udp(link), min(end.underlay_mtu for end in link.ends.values())
    dearest = min(
        proposals.ciphers(link.esp_proposals), key=lambda found: esp_room(low, found, nat_t=udp)
    )
    return {"cipher": dearest.name, "nat_t": udp}


def _link(fleet: Fleet) -> Link | None:
    """The costliest link between hosts of the inventory that `network.esp` does not tell of."""
    first = next(iter(fleet))
    if first.section(Network).esp is not None or first.section(Network).transport is not None:
        return None
    links = [found for found in first.section(IPsec).present.values() if len(found.managed) == 2]
    return min(links, key=ipsec.largest, default=None)
