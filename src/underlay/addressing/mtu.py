"""The one MTU model: underlay -> tunnel -> CNI -> pod, each layer with what it costs. Pure.

All sizes are bytes of an IP packet. WireGuard: drivers/net/wireguard (Linux 6.12), ESP:
xfrm_state_mtu() and esp_init_state() of the same kernel, VXLAN and IPIP: their drivers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

#: Headers of the outer packet.
IPV4, IPV6, UDP = 20, 40, 8

#: No path may be smaller: RFC 791 for IPv4 as Linux takes it, RFC 8200 for IPv6.
IPV4_MINIMUM, IPV6_MINIMUM = 576, 1280

#: What IPv4 and TCP need of a packet: MSS = MTU - 40.
TCP_HEADERS = 40


class Layer(str, Enum):
    """One encapsulation over IPv4, or with V6 over IPv6."""

    WIREGUARD = "wireguard"
    WIREGUARD_V6 = "wireguard-v6"
    VXLAN = "vxlan"
    VXLAN_V6 = "vxlan-v6"
    IPIP = "ipip"
    #: flannel's backends that the kernel does not know, and its own reckoning of WireGuard
    FLANNEL_UDP = "udp"
    FLANNEL_IPSEC = "ipsec"
    FLANNEL_WIREGUARD = "wireguard-flannel"
    NONE = "none"


#: Bytes that a layer takes from every packet. WireGuard: IP + UDP + 16 header + 16 tag; VXLAN: IP +
#: UDP + 8 + the inner Ethernet header of 14.
OVERHEAD = {
    Layer.WIREGUARD: IPV4 + UDP + 32,
    Layer.WIREGUARD_V6: IPV6 + UDP + 32,
    Layer.VXLAN: IPV4 + UDP + 8 + 14,
    Layer.VXLAN_V6: IPV6 + UDP + 8 + 14,
    Layer.IPIP: IPV4,
    Layer.FLANNEL_UDP: IPV4 + UDP,
    # flannel pkg/backend/ipsec: its worst case, in place of a reckoning by cipher
    Layer.FLANNEL_IPSEC: 77,
    # flannel pkg/backend/wireguard takes the IPv6 size for IPv4 too
    Layer.FLANNEL_WIREGUARD: IPV6 + UDP + 32,
    Layer.NONE: 0,
}


@dataclass(frozen=True)
class Cipher:
    """What an ESP cipher costs: block size, initialisation vector and authentication tag."""

    name: str
    block: int
    iv: int
    tag: int


#: By the names of swanctl.conf.
CIPHERS = {
    cipher.name: cipher
    for cipher in (
        Cipher("aes-sha1", 16, 16, 12),
        Cipher("aes-sha256", 16, 16, 16),
        Cipher("aes-sha384", 16, 16, 24),
        Cipher("aes-sha512", 16, 16, 32),
        # counter mode: no blocks, but ESP aligns to 4
        Cipher("aesgcm16", 4, 8, 16),
        Cipher("chacha20poly1305", 4, 8, 16),
    )
}


@dataclass(frozen=True)
class Hop:
    """One step of a chain: what it is, the bytes it takes, and what is left over."""

    name: str
    overhead: int
    mtu: int

    def __str__(self) -> str:
        return f"{self.name} {self.mtu}" + (f" (-{self.overhead})" if self.overhead else "")


def inner(mtu: int, layer: Layer) -> int:
    """The largest packet inside one layer."""
    return mtu - OVERHEAD[layer]


def chain(underlay: int, layers: Iterable[Layer]) -> tuple[Hop, ...]:
    """The underlay and each layer on it, outermost first; a layer of NONE leaves no hop."""
    hops = [Hop("underlay", 0, underlay)]
    for layer in layers:
        if layer is not Layer.NONE:
            name = layer.value.removesuffix("-v6").removesuffix("-flannel")
            hops.append(Hop(name, OVERHEAD[layer], inner(hops[-1].mtu, layer)))
    return tuple(hops)


def esp(mtu: int, cipher: Cipher, *, nat_t: bool = False, v6: bool = False) -> int:
    """The largest packet inside ESP in tunnel mode, as the kernel computes it.

    nat_t: ESP in UDP port 4500; v6: the outer packet is IPv6. Two bytes are the trailer.
    """
    header = (IPV6 if v6 else IPV4) + 8 + cipher.iv + (UDP if nat_t else 0)
    room = mtu - header - cipher.tag
    return room - room % cipher.block - 2


def mss(mtu: int) -> int:
    """The largest TCP segment over IPv4."""
    return mtu - TCP_HEADERS
