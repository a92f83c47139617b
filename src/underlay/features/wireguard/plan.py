"""Which peer carries what: from the overlays of the inventory to interfaces. Pure.

The rule of the topology: a spoke gives its first hub the whole overlay and every other hub and
direct spoke its own addresses alone; a hub knows each member by its own addresses. So every pair
of members has one path, the same both ways, and the first hub is the one that carries it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from underlay.addressing.mtu import Hop, Layer, chain, inner
from underlay.features.wireguard.settings import Overlay, endpoint, numeric
from underlay.operations.wireguard_plan import Interface, Peer

CNI = {"vxlan": Layer.VXLAN, "ipip": Layer.IPIP, "none": Layer.NONE}


def interface(name: str, overlay: Overlay, host: str) -> Interface:
    """What one member's interface should be."""
    node = overlay.members[host]
    others = [other for other in overlay.members if other != host]
    known = [other for other in others if linked(overlay, host, other)]
    peers = tuple(_peer(overlay, host, other) for other in known)
    calls = [text for other in known if (text := endpoint_of(overlay, other, host))]
    return Interface(
        name=name,
        address=f"{node.address}/{overlay.overlay_cidr.prefixlen}",
        port=overlay.port,
        mtu=mtu(overlay, host),
        routes=tuple(sorted(_route(c) for other in others for c in overlay.members[other].routed)),
        forwards=host in overlay.hubs,
        opens=host in overlay.hubs or bool(calls),
        opens_v6=not all(_is_v4(text) for text in calls),
        preshared=overlay.preshared_keys,
        peers=peers,
    )


def linked(overlay: Overlay, one: str, other: str) -> bool:
    """Whether two members are peers: a hub with everybody, spokes that name each other."""
    nodes = overlay.members
    return (
        one in overlay.hubs
        or other in overlay.hubs
        or other in nodes[one].direct
        or one in nodes[other].direct
    )


def allowed_ips(overlay: Overlay, host: str, other: str) -> tuple[IPv4Network, ...]:
    """What `host` sends to its peer `other` and takes from it."""
    own = (_alone(overlay.members[other].address), *overlay.members[other].routed)
    if host in overlay.hubs or other != overlay.hubs[0]:
        return own
    behind = [
        cidr
        for name, node in overlay.members.items()
        if name not in (host, other) and not linked(overlay, host, name)
        for cidr in node.routed
    ]
    return (overlay.overlay_cidr, *overlay.members[other].routed, *behind)


def endpoint_of(overlay: Overlay, host: str, other: str) -> str:
    """Where `host` calls `other`, "" when only `other` can call."""
    found = overlay.members[host].reach.get(other) or overlay.members[other].endpoint
    return found or ""


def _route(cidr: IPv4Network) -> str:
    """A network as the kernel shows its route: a single address has no prefix length there."""
    return str(cidr.network_address if cidr.prefixlen == 32 else cidr)


def _is_v4(text: str) -> bool:
    """Whether an endpoint is surely IPv4; a name may turn out to be the other."""
    return isinstance(numeric(endpoint(text)[0]), IPv4Address)


def _peer(overlay: Overlay, host: str, other: str) -> Peer:
    node = overlay.members[host]
    where = endpoint_of(overlay, host, other)
    return Peer(
        node=other,
        allowed_ips=tuple(str(cidr) for cidr in allowed_ips(overlay, host, other)),
        endpoint=where,
        named=bool(where) and numeric(endpoint(where)[0]) is None,
        # only the side behind NAT keeps the way open
        persistent_keepalive=overlay.keepalive_s if node.behind_nat and where else 0,
        address=str(overlay.members[other].address),
    )


# -- packets


def next_hop(overlay: Overlay, host: str, target: IPv4Address) -> str | None:
    """The peer that takes a packet from `host` to `target`: the longest prefix, as the kernel."""
    found: tuple[int, str] | None = None
    for other in overlay.members:
        if other == host or not linked(overlay, host, other):
            continue
        for cidr in allowed_ips(overlay, host, other):
            if target in cidr and (found is None or cidr.prefixlen > found[0]):
                found = (cidr.prefixlen, other)
    return found[1] if found else None


def path(overlay: Overlay, source: IPv4Address, target: IPv4Address) -> tuple[str, ...]:
    """The members that a packet passes; () when it is dropped on its way.

    A receiver takes a packet only from the peer that it would answer to.
    """
    here = owner(overlay, source)
    end = owner(overlay, target)
    seen = [here] if here else []
    while here is not None and here != end:
        there = next_hop(overlay, here, target)
        if there is None or there in seen or next_hop(overlay, there, source) != here:
            return ()
        seen.append(there)
        here = there
    return tuple(seen)


def owner(overlay: Overlay, address: IPv4Address) -> str | None:
    """The member with this address, or with the pod CIDR it lies in."""
    for name, node in overlay.members.items():
        if address == node.address or any(address in cidr for cidr in node.routed):
            return name
    return None


def _alone(address: IPv4Address) -> IPv4Network:
    return IPv4Network(f"{address}/32")


# -- sizes


def layer(overlay: Overlay, host: str) -> Layer:
    """IPv6 costs 20 bytes more; a name may turn out to be one, so it is counted as one."""
    texts = [
        text
        for other in overlay.members
        if other != host and linked(overlay, host, other)
        for text in (endpoint_of(overlay, host, other), endpoint_of(overlay, other, host))
        if text
    ]
    every_v4 = all(map(_is_v4, texts))
    return Layer.WIREGUARD if every_v4 else Layer.WIREGUARD_V6


def most(overlay: Overlay, host: str) -> int:
    """The largest MTU of this member's interface that its underlay can carry."""
    return inner(underlay_mtu(overlay, host), layer(overlay, host))


def underlay_mtu(overlay: Overlay, host: str) -> int:
    """Bytes that this member's underlay carries."""
    return overlay.members[host].underlay_mtu or overlay.underlay_mtu


def mtu(overlay: Overlay, host: str) -> int:
    """The MTU of every member's interface: what is set, else what the smallest underlay leaves.

    By default with room for IPv6 outside, as the kernel does, and the same everywhere: a hub does
    not fragment what it passes on.
    """
    smallest = min(underlay_mtu(overlay, name) for name in overlay.members)
    return overlay.mtu or inner(smallest, Layer.WIREGUARD_V6)


def sizes(overlay: Overlay, host: str) -> tuple[Hop, ...]:
    """The chain from underlay to pod, with the numbers that will be."""
    below = underlay_mtu(overlay, host)
    size = mtu(overlay, host)
    on_top = chain(size, [CNI[overlay.cni]])[1:]
    return (Hop("underlay", 0, below), Hop("wireguard", below - size, size), *on_top)


# -- what is worth knowing


@dataclass(frozen=True)
class Row:
    """One member of one overlay, for the table."""

    overlay: str
    host: str
    role: str
    address: str
    endpoint: str
    peers: int
    pods: str
    sizes: tuple[Hop, ...]


def rows(overlays: dict[str, Overlay]) -> list[Row]:
    """Every member of every overlay."""
    return [
        Row(
            overlay=name,
            host=host,
            role=role(found, host),
            address=str(node.address),
            endpoint="behind NAT" if node.behind_nat else node.endpoint or "per peer",
            peers=sum(linked(found, host, other) for other in found.members if other != host),
            pods=" ".join(map(str, node.routed)) or "encapsulated",
            sizes=sizes(found, host),
        )
        for name, found in overlays.items()
        for host, node in found.members.items()
    ]


def role(overlay: Overlay, host: str) -> str:
    """`hub`, `standby` or `spoke`."""
    if host not in overlay.hubs:
        return "spoke"
    return "hub" if host == overlay.hubs[0] else "standby"


def advice(name: str, overlay: Overlay) -> Iterator[str]:
    """What the plan cannot promise, in sentences."""
    if not overlay.members:
        return
    spokes = [host for host in overlay.members if host not in overlay.hubs]
    hub = overlay.hubs[0]
    if len(overlay.hubs) == 1:
        yield f"{name}: while {hub} is down, spokes reach only those they have a direct link to"
    else:
        yield (
            f"{name}: while {hub} is down, spokes reach {_listed(overlay.hubs[1:])} but not each"
            " other; WireGuard does not fail over by itself: put another hub first in"
            f" wireguard.overlays.{name}.hubs and apply, sessions to it stand already"
        )
    names = sorted(
        {
            text
            for host in overlay.members
            for other in overlay.members
            if host != other and linked(overlay, host, other)
            for text in (endpoint_of(overlay, host, other),)
            if text and numeric(endpoint(text)[0]) is None
        }
    )
    if names:
        yield f"{name}: a timer resolves {_listed(names)} again when the peer is silent"
    room = overlay.hub_capacity - len(overlay.members) + 1
    yield f"{name}: {len(spokes)} spokes, room for {room} more peers at {hub}"
    if any(node.routed for node in overlay.members.values()):
        yield (
            f"{name}: pod CIDRs are routed by name; a CNI that moves blocks between nodes (Calico"
            " IPAM) needs an encapsulation instead"
        )
    pods = sizes(overlay, hub)[-1].mtu
    if overlay.cni == "vxlan":
        yield f"{name}: flannel needs --iface={name}, Calico IP autodetection by interface {name}"
    yield f"{name}: set the MTU of pods to {pods}"
    yield f"{name}: kubelet needs --node-ip=<overlay address> on every node"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
