"""What is known of WireGuard on one host; types only. No secret is among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from underlay import journal
from underlay.facts.firewall import Wall
from underlay.facts.guard import Guard

#: Our files on a host: keys, and what each interface should be.
FOLDER = "/etc/underlay/wireguard"
CHANGE = "wireguard"
#: Marks our routes among those of others on the same interface.
PROTOCOL = 117
#: A file of another name in our folder is not ours, and its name goes into no command.
_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}")


@dataclass(frozen=True)
class LivePeer:
    """One peer of a live interface.

    endpoint: "" when none is known; latest_handshake: seconds since the epoch, 0 for never;
    preshared: SHA-256 of its preshared key, "" without one.
    """

    endpoint: str
    allowed_ips: tuple[str, ...]
    latest_handshake: int
    persistent_keepalive: int
    preshared: str = ""


@dataclass(frozen=True)
class Link:
    """One live interface; public_key is None when it is no WireGuard interface."""

    up: bool
    mtu: int
    addresses: tuple[str, ...] = ()
    rp_filter: int = 0
    public_key: str | None = None
    port: int = 0
    peers: Mapping[str, LivePeer] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """One route of the main table; ours: we made it."""

    to: str
    device: str
    ours: bool


@dataclass(frozen=True)
class Unit:
    """The unit of one interface; refreshed: its timer for endpoint names runs."""

    enabled: bool
    active: bool
    refreshed: bool


@dataclass(frozen=True)
class Host:
    """One host.

    kernel: `loaded`, `loadable` or `missing`; userspace: a program that can stand in, or "";
    tools: commands that are there; keys: interface -> public key of its key file; open_keys: key
    files that others can read; preshared: (interface, peer's file) -> SHA-256; files: our texts by
    path; hashes: SHA-256 by path; firewall, firewall_v6: interface -> our rules that are there;
    drops: hooks that drop by policy; walls: chains of others that drop what they do not name;
    ports: UDP ports in use; ssh: client and server address of this session; ssh_device: where
    packets to that client leave; programs: kubelet, flanneld and calico-node that run, each with
    the words that say which address or interface it takes; guard: of an earlier run.
    """

    kernel: str
    userspace: str
    tools: frozenset[str]
    links: Mapping[str, Link]
    routes: tuple[Route, ...]
    ip_forward: bool
    keys: Mapping[str, str]
    open_keys: tuple[str, ...]
    preshared: Mapping[tuple[str, str], str]
    files: Mapping[str, str]
    hashes: Mapping[str, str]
    units: Mapping[str, Unit]
    firewall: Mapping[str, tuple[str, ...]]
    firewall_v6: Mapping[str, tuple[str, ...]]
    drops: frozenset[str]
    walls: tuple[Wall, ...]
    ports: frozenset[int]
    ssh: tuple[str, str] | None
    ssh_device: str
    programs: tuple[tuple[str, ...], ...]
    entries: tuple[journal.Entry, ...]
    guard: Guard = Guard.NONE

    @property
    def ours(self) -> tuple[str, ...]:
        """Interfaces that our files name."""
        names = (
            path.rpartition("/")[2].removesuffix(".env")
            for path in self.files
            if path.endswith(".env")
        )
        return tuple(name for name in names if _NAME.fullmatch(name))

    @property
    def firewall_tool(self) -> str:
        """`iptables`, `nft` or "" when neither is there."""
        return next((tool for tool in ("iptables", "nft") if tool in self.tools), "")
