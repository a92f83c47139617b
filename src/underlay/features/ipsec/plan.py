"""From the links of the inventory to what each host needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from underlay.addressing.mtu import esp, mss
from underlay.features.ipsec import proposals
from underlay.features.ipsec.settings import IPsec, Link
from underlay.operations.ipsec_tunnel import Child, Tunnel

#: The child of a link that names none.
ONLY_CHILD = "net"


def tunnels(section: IPsec, host: str) -> tuple[Tunnel, ...]:
    """Every link that this host has a part in."""
    return tuple(
        tunnel(name, link, host)
        for name, link in section.present.items()
        if side_of(link, host) is not None
    )


def tunnel(name: str, link: Link, host: str) -> Tunnel:
    """One link as one of its hosts needs it."""
    side = side_of(link, host)
    if side is None:
        raise ValueError(f"{host} has no part in {name}")
    own, other = link.ends[side], link.ends[far(link, side)]
    gateway = own.gateway == host
    known = other.numeric
    return Tunnel(
        name=name,
        gateway=gateway,
        first=gateway and begins(link) == side,
        local="%any" if own.behind_nat and own.local_address is None
        else str(own.local_address or own.address),
        peer="%any" if other.behind_nat else other.address,
        peer_address="" if other.behind_nat or known is None else str(known),
        identity=own.shown_as,
        peer_identity=other.shown_as,
        secret="psk" if link.psk is not None else "certificate",
        children=children(link, side),
        bypass=tuple(str(cidr) for cidr in link.bypass),
        accept_covered=tuple(str(cidr) for cidr in link.accept_covered),
        proposals=tuple(proposals.canonical(text) for text in link.proposals),
        esp_proposals=tuple(proposals.canonical(text) for text in link.esp_proposals),
        algorithms=proposals.needed(link.proposals, link.esp_proposals),
        encapsulate=link.encapsulate,
        in_udp=in_udp(link),
        dpd_delay_s=link.dpd_delay_s,
        rekey_s=link.rekey_s,
        child_rekey_s=link.child_rekey_s,
        device=link.device(name) if gateway else "",
        if_id=link.number(name) if gateway and link.mode == "route" else 0,
        via="" if gateway else str(own.inside),
        mtu=mtu(link),
        keep_unproved=link.keep_unproved,
        provers=provers(link),
    )  # fmt: skip


def side_of(link: Link, host: str) -> str | None:
    """The end that a host belongs to, as its gateway or as one of its nodes."""
    for side, end in link.ends.items():
        if host == end.gateway or host in end.nodes:
            return side
    return None


def is_gateway(link: Link, host: str) -> bool:
    """Whether a host ends the link."""
    return any(end.gateway == host for end in link.ends.values())


def far(link: Link, side: str) -> str:
    """The other end."""
    return next(name for name in link.ends if name != side)


def begins(link: Link) -> str:
    """The end that calls: the first managed one, unless only the other can be called."""
    able = [side for side in link.managed if not link.ends[far(link, side)].behind_nat]
    return (able or list(link.managed))[0]


def provers(link: Link) -> tuple[str, ...]:
    """Gateways of ours, the one that begins first."""
    first = begins(link)
    order = sorted(link.managed, key=lambda side: side != first)
    return tuple(str(link.ends[side].gateway) for side in order)


def networks(link: Link, side: str) -> tuple[IPv4Network, ...]:
    """What children carry of one end, each network once."""
    if not link.children:
        return link.ends[side].networks
    return tuple(
        dict.fromkeys(cidr for sides in link.children.values() for cidr in sides.get(side, ()))
    )


def children(link: Link, side: str) -> tuple[Child, ...]:
    """The children from one side."""
    other = far(link, side)
    found = link.children or {
        ONLY_CHILD: {side: link.ends[side].networks, other: link.ends[other].networks}
    }
    return tuple(
        Child(name, tuple(map(str, sides[side])), tuple(map(str, sides[other])))
        for name, sides in found.items()
    )


# -- sizes


def in_udp(link: Link) -> bool:
    """Whether packets go in UDP port 4500, which costs 8 bytes."""
    return link.encapsulate or any(
        end.behind_nat or end.local_address is not None for end in link.ends.values()
    )


def largest(link: Link) -> int:
    """The largest packet that every cipher either side may choose leaves room for."""
    underlay = min(end.underlay_mtu for end in link.ends.values())
    return min(
        esp(underlay, cipher, nat_t=in_udp(link))
        for cipher in proposals.ciphers(link.esp_proposals)
    )


def mtu(link: Link) -> int:
    """The MTU of routes and interfaces over the link."""
    return link.mtu or largest(link)


@dataclass(frozen=True)
class Row:
    """One link, for people."""

    link: str
    ends: str
    networks: str
    mode: str
    mtu: int
    mss: int


def rows(section: IPsec) -> list[Row]:
    """Every link with the sizes that will be."""
    return [
        Row(
            link=name,
            ends=" - ".join(end.gateway or end.address for end in link.ends.values()),
            networks=" - ".join(
                ",".join(map(str, networks(link, side))) or "none" for side in link.ends
            ),
            mode=link.mode,
            mtu=mtu(link),
            mss=mss(mtu(link)),
        )
        for name, link in section.present.items()
    ]
