"""What a WireGuard interface of ours should be, and how a host differs from it. Pure.

The rule: the live interface is compared, never only a file, because a file that is right says
nothing about an address or a route that was never applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from underlay.facts.wireguard_host import FOLDER, PROTOCOL, Host, Link, LivePeer
from underlay.render import render, source

HELPER = "/usr/local/sbin/underlay-wireguard"
UNITS = "/etc/systemd/system"
#: Files that all interfaces share: path -> (template, mode).
SHARED = {
    HELPER: ("wireguard/underlay-wireguard.sh", "0755"),
    f"{UNITS}/underlay-wireguard@.service": ("wireguard/underlay-wireguard@.service", "0644"),
    f"{UNITS}/underlay-wireguard-refresh@.service": (
        "wireguard/underlay-wireguard-refresh@.service", "0644",
    ),
    f"{UNITS}/underlay-wireguard-refresh@.timer": (
        "wireguard/underlay-wireguard-refresh@.timer", "0644",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """One peer of an interface.

    node: its name in the inventory; allowed_ips: CIDRs; endpoint: `host:port` or "";
    named: the endpoint is a name that must be resolved again; persistent_keepalive: seconds, 0 off;
    address: inside the overlay.
    """

    node: str
    allowed_ips: tuple[str, ...]
    endpoint: str = ""
    named: bool = False
    persistent_keepalive: int = 0
    address: str = ""


@dataclass(frozen=True)
class Interface:
    """One interface of one host.

    address: with prefix length; routes: CIDRs through it besides its own network; forwards: it
    carries traffic between its peers; opens: others call its port; opens_v6: over IPv6 too;
    preshared: every peer has a key shared with this host alone.
    """

    name: str
    address: str
    port: int
    mtu: int
    routes: tuple[str, ...]
    forwards: bool
    opens: bool
    opens_v6: bool
    preshared: bool
    peers: tuple[Peer, ...]

    @property
    def named(self) -> bool:
        """Whether an endpoint has to be resolved again now and then."""
        return any(peer.named for peer in self.peers)


@dataclass(frozen=True)
class Change:
    """What a host needs: files by path with their mode, and why, for people."""

    files: Mapping[str, tuple[str, str]]
    reasons: tuple[str, ...]


def safe(node: str) -> str:
    """A node's name as a file name on a host."""
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in node)


def env_text(wanted: Interface) -> str:
    """What the helper needs besides peers and keys; read by a shell."""
    return render("wireguard/interface.env.j2", interface=wanted, protocol=PROTOCOL)


def peers_text(wanted: Interface, keys: Mapping[str, str]) -> str:
    """The peers in wg's own form, without any secret. keys: node -> public key."""
    rows = [(peer, safe(peer.node), keys[peer.node]) for peer in wanted.peers]
    return render("wireguard/interface.peers.j2", interface=wanted, rows=rows)


def compare(found: Host, wanted: Interface, keys: Mapping[str, str]) -> Change:
    """How one interface of a host differs from what is wanted."""
    texts = {
        f"{FOLDER}/{wanted.name}.env": env_text(wanted),
        f"{FOLDER}/{wanted.name}.peers": peers_text(wanted, keys),
    }
    files = {
        path: (text, "0600") for path, text in texts.items() if found.files.get(path, "") != text
    }
    reasons = [f"{path} differs" for path in files]
    reasons += _differences(found, wanted, keys)
    return Change(files, tuple(reasons))


def shared_files(found: Host) -> dict[str, tuple[str, str]]:
    """Files of all interfaces that differ on this host."""
    return {
        path: (source(template), mode)
        for path, (template, mode) in SHARED.items()
        if found.hashes.get(path) != digest(source(template))
    }


def digest(text: str) -> str:
    """The SHA-256 of a file with this text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _differences(found: Host, wanted: Interface, keys: Mapping[str, str]) -> Iterator[str]:
    """What is not as wanted on the live interface, in words."""
    link = found.links.get(wanted.name)
    unit = found.units.get(wanted.name)
    if unit is None or not unit.enabled or not unit.active:
        yield f"{wanted.name}: its unit does not run or does not start at boot"
    if unit is not None and unit.refreshed != wanted.named:
        yield f"{wanted.name}: endpoint names are resolved {'never' if wanted.named else 'idly'}"
    if link is None or link.public_key is None:
        yield f"{wanted.name}: no such interface"
        return
    yield from _of_link(found, link, wanted)
    yield from _of_peers(found, link, wanted, keys)
    if wanted.forwards and not found.ip_forward:
        yield "net.ipv4.ip_forward is off"
    rules_v6 = found.firewall_v6.get(wanted.name, ()) == firewall_v6(found, wanted)
    if found.firewall.get(wanted.name, ()) != firewall(found, wanted) or not rules_v6:
        yield f"{wanted.name}: our firewall rules are not there"


def firewall(found: Host, wanted: Interface) -> tuple[str, ...]:
    """Our rules as the fact reads them: which of `input` and `forward` there are."""
    if found.firewall_tool == "":
        return ()
    return tuple(name for name, on in (("forward", wanted.forwards), ("input", wanted.opens)) if on)


def firewall_v6(found: Host, wanted: Interface) -> tuple[str, ...]:
    """The same of ip6tables; a table of nft is for both families."""
    return ("input",) if wanted.opens_v6 and "ip6tables" in found.tools else ()


def _of_link(found: Host, link: Link, wanted: Interface) -> Iterator[str]:
    name = wanted.name
    if not link.up:
        yield f"{name}: down"
    if link.addresses != (wanted.address,):
        yield f"{name}: address {' '.join(link.addresses) or 'none'}, not {wanted.address}"
    if link.mtu != wanted.mtu:
        yield f"{name}: MTU {link.mtu}, not {wanted.mtu}"
    if link.port != wanted.port:
        yield f"{name}: port {link.port}, not {wanted.port}"
    if link.rp_filter != 2:
        yield f"{name}: rp_filter {link.rp_filter}, not 2"
    ours = {route.to for route in found.routes if route.device == name and route.ours}
    for route in sorted(ours ^ set(wanted.routes)):
        yield f"{name}: route {route} is {'too many' if route in ours else 'missing'}"
    key = found.keys.get(name)
    # boringtun does not say which key it runs with
    silent = link.public_key == "(none)" and bool(found.userspace)
    if key is not None and key != link.public_key and not silent:
        yield f"{name}: runs with another key than its file holds"


def _of_peers(found: Host, link: Link, wanted: Interface, keys: Mapping[str, str]) -> Iterator[str]:
    expected = {keys[peer.node]: peer for peer in wanted.peers}
    for key in link.peers.keys() - expected.keys():
        yield f"{wanted.name}: a peer too many ({key[:8]}…)"
    for key, peer in expected.items():
        live = link.peers.get(key)
        if live is None:
            yield f"{wanted.name}: peer {peer.node} is missing"
            continue
        if not same_networks(live.allowed_ips, peer.allowed_ips):
            yield f"{wanted.name}: peer {peer.node} has other allowed IPs"
        if live.persistent_keepalive != peer.persistent_keepalive:
            yield f"{wanted.name}: peer {peer.node} has another keepalive"
        if _endpoint_lost(live, peer):
            yield f"{wanted.name}: peer {peer.node} has no endpoint"
        file = found.preshared.get((wanted.name, safe(peer.node)), "")
        if live.preshared != (file if wanted.preshared else ""):
            yield f"{wanted.name}: peer {peer.node} runs with another preshared key"


def _endpoint_lost(live: LivePeer, peer: Peer) -> bool:
    """A peer may roam, so another endpoint than ours is no difference; none at all is."""
    return bool(peer.endpoint) and not peer.named and not live.endpoint


def same_networks(live: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """wg prints host addresses with their prefix length and in an order of its own."""
    return {IPv4Network(text) for text in live} == {IPv4Network(text) for text in wanted}
