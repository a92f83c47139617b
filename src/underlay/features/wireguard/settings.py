"""The `wireguard` section: every overlay of the fleet, the same for all hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from underlay.settings import Part, Section

#: What the kernel, wg and a systemd unit all take: IFNAMSIZ - 1 characters.
INTERFACE_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}")
#: Interfaces of others; an overlay by this name would be theirs.
TAKEN = {
    "lo": "the kernel", "wireguard.cali": "Calico", "wg-v6.cali": "Calico",
    "flannel-wg": "flannel", "flannel-wg-v6": "flannel", "flannel.1": "flannel",
    "flannel-v6.1": "flannel",
    "kilo0": "Kilo", "cilium_wg0": "Cilium", "cni0": "the bridge plugin",
}  # fmt: skip

_ENDPOINT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def endpoint(text: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[IPv6]:port`; ValueError says what to write."""
    found = _ENDPOINT.fullmatch(text)
    if not found:
        raise ValueError(f"no port in {text!r}; write it as host:port or [IPv6]:port")
    host, port = found.group(1), int(found.group(2))
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} does not exist; use 1 to 65535")
    return host.strip("[]"), port


def numeric(host: str) -> IPv4Address | IPv6Address | None:
    """The address of an endpoint's host, None when it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


class Node(Part):
    """One member of an overlay [wg(8)].

    address: its address on the interface, inside `overlay_cidr` [wg(8), AllowedIPs].
    endpoint: where others reach it, none where nobody can {`host:port` or `[IPv6]:port`} [wg(8),
        Endpoint].
    reach: other member -> the endpoint that this node uses for it instead {each `host:port` or
        `[IPv6]:port`} [wg(8), Endpoint].
    behind_nat: nobody can call it, it keeps its own way open [wg(8), PersistentKeepalive].
    pod_cidrs: pod networks that are routed through the tunnel, or `encapsulated` where the CNI
        wraps pods' packets in packets of nodes [wg(8), AllowedIPs].
    direct: spokes that it reaches without a hub {each a member}.
    underlay_mtu: largest packet in bytes on its own path, none for the overlay's [RFC 791].
    """

    address: IPv4Address
    endpoint: str | None = None
    reach: dict[str, str] = Field(default_factory=dict)
    behind_nat: bool = False
    pod_cidrs: Literal["encapsulated"] | tuple[IPv4Network, ...] = "encapsulated"
    direct: tuple[str, ...] = ()
    underlay_mtu: int | None = Field(default=None, ge=576, le=65535)

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, found: str | None) -> str | None:
        if found is not None:
            endpoint(found)
        return found

    @field_validator("reach")
    @classmethod
    def _reach(cls, found: dict[str, str]) -> dict[str, str]:
        for text in found.values():
            endpoint(text)
        return found

    @property
    def routed(self) -> tuple[IPv4Network, ...]:
        """Pod CIDRs that the tunnel itself must know."""
        return () if self.pod_cidrs == "encapsulated" else self.pod_cidrs


class Overlay(Part):
    """One WireGuard interface on every member [wg(8)].

    overlay_cidr: network of the members' addresses [wg(8), AllowedIPs].
    state: `absent` removes the overlay everywhere [underlay].
    hubs: hosts that spokes go through, the first carries the traffic and the others stand by {each
        a member} [underlay].
    nodes: host -> its place in the overlay.
    port: UDP port of every member [wg(8), ListenPort].
    mtu: largest packet in bytes inside the tunnel, none for `underlay_mtu` less 80 [wg-quick(8),
        MTU].
    underlay_mtu: largest packet in bytes on the path between members [RFC 791].
    cni: what the CNI wraps pods' packets in on top of the tunnel [RFC 7348, RFC 2003].
    pod_mtu: what the CNI is set to, checked against what the tunnel leaves [RFC 791].
    keepalive_s: seconds between two keepalives, sent from behind NAT only [wg(8),
        PersistentKeepalive].
    preshared_keys: one more secret for each pair of peers [wg(8), PresharedKey].
    accept_single_hub: several spokes may depend on one hub [underlay].
    hub_capacity: most peers of one hub [underlay].
    """

    overlay_cidr: IPv4Network
    state: Literal["present", "absent"] = "present"
    hubs: tuple[str, ...] = ()
    nodes: dict[str, Node] = Field(default_factory=dict)
    port: int = Field(default=51820, ge=1, le=65535)
    mtu: int | None = Field(default=None, ge=68, le=65535)
    underlay_mtu: int = Field(default=1500, ge=576, le=65535)
    cni: Literal["vxlan", "ipip", "none"] = "vxlan"
    pod_mtu: int | None = Field(default=None, ge=68, le=65535)
    keepalive_s: int = Field(default=25, ge=1, le=120)
    preshared_keys: bool = False
    accept_single_hub: bool = False
    hub_capacity: int = Field(default=250, ge=1)

    @property
    def members(self) -> Mapping[str, Node]:
        """Host name to node, empty when the overlay is to be removed."""
        return {} if self.state == "absent" else self.nodes


class WireGuard(Section):
    """Overlays of the fleet [underlay].

    overlays: interface name -> overlay [wg(8)].
    known_cidrs: name -> network that exists elsewhere (Services, machines, another site) and must
        not be taken.
    guard_s: seconds that a change which may cut SSH has to prove itself before the node takes it
        back.
    """

    KEY: ClassVar[str] = "wireguard"

    overlays: dict[str, Overlay] = Field(default_factory=dict)
    known_cidrs: dict[str, IPv4Network] = Field(default_factory=dict)
    guard_s: int = Field(default=120, ge=15, le=3600)

    @field_validator("overlays")
    @classmethod
    def _names(cls, found: dict[str, Overlay]) -> dict[str, Overlay]:
        for name in found:
            if not INTERFACE_NAME.fullmatch(name):
                raise ValueError(
                    f"not an interface name: {name!r}; use at most 15 of letters, digits and _.-"
                )
            if name in TAKEN:
                raise ValueError(f"{name!r} belongs to {TAKEN[name]}; choose another name")
        return found

    def of(self, host: str) -> dict[str, Overlay]:
        """The overlays that this host is a member of."""
        return {name: found for name, found in self.overlays.items() if host in found.members}
