"""What each node's path leaves a pod, and what a CNI is to be told. Pure.

The rule: a cluster has one pod MTU, because a packet may take the path of any two nodes; it is what
the smallest path leaves after every layer on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from underlay.addressing.mtu import CIPHERS, OVERHEAD, Hop, Layer, esp, inner

#: network.encapsulation -> the layer over IPv4, and over IPv6. Across subnets some packets are
#: encapsulated and some are not: the larger cost counts.
LAYERS: dict[str, tuple[Layer, Layer]] = {
    "none": (Layer.NONE, Layer.NONE),
    "vxlan": (Layer.VXLAN, Layer.VXLAN_V6),
    "vxlan-cross-subnet": (Layer.VXLAN, Layer.VXLAN_V6),
    "ipip": (Layer.IPIP, Layer.IPIP),
    "ipip-cross-subnet": (Layer.IPIP, Layer.IPIP),
    "wireguard": (Layer.WIREGUARD, Layer.WIREGUARD_V6),
    "udp": (Layer.FLANNEL_UDP, Layer.FLANNEL_UDP),
    "ipsec": (Layer.FLANNEL_IPSEC, Layer.FLANNEL_IPSEC),
}

#: What flannel itself takes off `Backend.MTU`, whatever the family (pkg/backend/*, v0.28). Its
#: other backends have no such key and go by the interface.
FLANNEL_TAKES = {
    "vxlan": OVERHEAD[Layer.VXLAN],
    "vxlan-cross-subnet": OVERHEAD[Layer.VXLAN],
    "wireguard": OVERHEAD[Layer.FLANNEL_WIREGUARD],
}

#: Which CNI can do which encapsulation.
ABLE = {
    "flannel": tuple(LAYERS),
    "calico": tuple(name for name in LAYERS if name not in ("udp", "ipsec")),
}


@dataclass(frozen=True)
class Tunnel:
    """The WireGuard overlay beneath the CNI on one node: its name, its MTU, what it counts on."""

    name: str
    mtu: int
    underlay: int


@dataclass(frozen=True)
class Place:
    """What lies beneath the CNI on one node.

    underlay: bytes of the path; assumed: nobody said so; esp: cipher and whether in UDP.
    """

    name: str
    address: str = ""
    underlay: int = 1500
    assumed: bool = False
    esp: tuple[str, bool] | None = None
    tunnel: Tunnel | None = None


@dataclass(frozen=True)
class NodeChain:
    """One node: every hop from its underlay to its pods, and the most that its pods could get."""

    name: str
    address: str
    hops: tuple[Hop, ...]
    room: int

    def __str__(self) -> str:
        return " -> ".join(map(str, self.hops))


def layer(cni: str, encapsulation: str, *, v6: bool) -> Layer:
    """The layer that a CNI puts around pod packets; v6: the nodes talk IPv6 to each other."""
    if cni == "none":
        return Layer.NONE
    if cni == "flannel" and encapsulation == "wireguard":
        return Layer.FLANNEL_WIREGUARD
    return LAYERS[encapsulation][v6]


def beneath(place: Place) -> tuple[Hop, ...]:
    """From the underlay to what the CNI sees."""
    hops = [Hop("underlay", 0, place.underlay)]
    if place.esp is not None:
        cipher, nat_t = place.esp
        left = esp(place.underlay, CIPHERS[cipher], nat_t=nat_t, v6=":" in place.address)
        hops.append(Hop("esp", hops[-1].mtu - left, left))
    if place.tunnel is not None:
        hops.append(Hop("wireguard", hops[-1].mtu - place.tunnel.mtu, place.tunnel.mtu))
    return tuple(hops)


def chains(places: Sequence[Place], on_top: Layer, pod_mtu: int | None) -> tuple[NodeChain, ...]:
    """Each node's chain; pod_mtu: None for what the smallest path leaves."""
    rooms = [inner(beneath(place)[-1].mtu, on_top) for place in places]
    common = pod_mtu or min(rooms)
    found = []
    for place, room in zip(places, rooms, strict=True):
        hops = [*beneath(place)]
        if on_top is not Layer.NONE:
            name = on_top.value.removesuffix("-v6").removesuffix("-flannel")
            hops.append(Hop(name, OVERHEAD[on_top], room))
        hops.append(Hop("pods", room - common, common))
        found.append(NodeChain(place.name, place.address, tuple(hops), room))
    return tuple(found)


def cni_value(cni: str, encapsulation: str, pod_mtu: int) -> tuple[str, int] | None:
    """Where and what a CNI is told so that pods get `pod_mtu`; None when it has no such setting.

    flannel wants the MTU beneath its encapsulation, and takes its own overhead off.
    """
    if cni == "calico":
        return "spec.calicoNetwork.mtu", pod_mtu
    if cni == "flannel" and encapsulation in FLANNEL_TAKES:
        return "Backend.MTU", pod_mtu + FLANNEL_TAKES[encapsulation]
    return None
