"""Why links cannot be made on a host, and whether its SSH may take another way. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network

from underlay.facts.ipsec_host import FOLDER, TABLE, Host
from underlay.operations.ipsec_tunnel import Tunnel


def refusals(found: Host, wanted: Sequence[Tunnel], *, installs: bool) -> list[str]:
    """Every reason, each with what to do. installs: what is missing will be installed first."""
    if not wanted:
        return []
    return [
        *_tools(found, wanted, installs=installs),
        *(problem for link in wanted for problem in _of_link(found, link)),
    ]


def _tools(found: Host, wanted: Sequence[Tunnel], *, installs: bool) -> Iterator[str]:
    gateway = any(link.gateway for link in wanted)
    needed = {
        "ip": "iproute2", "iptables": "iptables", "iptables-restore": "iptables",
        "flock": "util-linux", "systemctl": "systemd, which brings links up at boot",
    }  # fmt: skip
    if gateway:
        needed["swanctl"] = "strongswan-swanctl and charon-systemd"
    for tool, package in needed.items():
        by_apt = installs and tool in {"swanctl", "iptables", "iptables-restore", "ip"}
        if tool not in found.tools and not by_apt:
            yield f"{tool}: not installed, and there is no apt-get to do it; install {package}"
    if gateway and found.starter:
        yield (
            "strongswan-starter: the legacy daemon runs and would answer in place of ours; move its"
            " connections (`underlay ipsec import /etc/ipsec.conf`), then disable it"
        )
    elif gateway and found.ike_port_taken and not found.daemon_active:
        yield "UDP port 500: another IKE daemon listens; stop and disable it"
    if gateway and found.version and not found.included:
        yield "/etc/swanctl/swanctl.conf: does not read conf.d; add the line: include conf.d/*.conf"


def _of_link(found: Host, link: Tunnel) -> Iterator[str]:
    path = f"ipsec.links.{link.name}"
    for address, who in (
        *([(found.ssh[0], "this computer, which the host sees as")] if found.ssh else []),
        *((peer, "the BGP peer") for peer in found.bgp),
    ):
        cidr = _covering(address, link.remote)
        if cidr and not _covering(address, (*link.bypass, *link.accept_covered)):
            yield (
                f"{path}: {cidr} takes in {who} {address}; narrow it, add {address}/32 to bypass,"
                " or to accept_covered when it really lies behind the link"
            )
    for own in found.connected:
        for cidr in link.remote:
            if ip_network(own).overlaps(ip_network(cidr)) and not _within(own, link.bypass):
                yield (
                    f"{path}: {cidr} overlaps {own}, a network this host is in; narrow it, or add"
                    f" {own} to bypass"
                )
    if found.pools is not None:
        for cidr in link.remote:
            if not _within(cidr, found.pools):
                yield (
                    f"{path}: Calico would hide pods behind their node on the way to {cidr}; apply"
                    " the disabled IPPool that `underlay ipsec calico INVENTORY` prints"
                )


def path_may_change(found: Host, wanted: Sequence[Tunnel], gone: Sequence[str]) -> str:
    """Why this host's SSH may take another way after a change, "" when it cannot."""
    if found.ssh is None:
        return ""
    client, _ = found.ssh
    for link in wanted:
        cidr = _covering(client, link.remote)
        if cidr and not _covering(client, link.bypass):
            return f"this computer ({client}) lies in {cidr} behind {link.name}"
    for name in gone:
        text = found.files.get(f"{FOLDER}/{name}.env", "")
        remote = re.search(r"^REMOTE='([^']*)'$", text, re.MULTILINE)
        cidr = _covering(client, remote.group(1).split() if remote else ())
        if cidr:
            return f"this computer ({client}) is reached through {name}"
    return ""


def notes(found: Host, wanted: Sequence[Tunnel]) -> list[str]:
    """What works, and should be known."""
    texts = [
        f"{link.name}: the route to {to} by {device} stays; ours in table {TABLE} comes before it"
        for link in wanted
        for to, device in found.mains
        if to in link.routes
    ]
    texts += _firewalls(found, wanted)
    if wanted and found.nft_masquerades and found.exempt is None:
        texts.append(
            "something masquerades in nft, and no program nft is here that could keep the"
            " addresses of pods (nftables, 1.0 or newer); install it, and see docs/ipsec.md"
        )
    return texts


#: What the kernel's hooks of a gateway must let pass of a link.
_PASSES = {
    "input": "let UDP 500 and 4500, ESP and `meta ipsec exists` from {peer} in there",
    "forward": "let packets between {own} and {far} pass there",
    "output": "let UDP 500 and 4500 and ESP to {peer} out there",
}


def _firewalls(found: Host, wanted: Sequence[Tunnel]) -> Iterator[str]:
    """An accept in iptables is none in a table of nft."""
    for link in wanted:
        if not link.gateway:
            continue
        own = dict.fromkeys(cidr for child in link.children for cidr in child.local)
        values = {"peer": link.peer, "own": ", ".join(own), "far": ", ".join(link.remote)}
        for table, hook in found.dropping:
            yield (
                f"{link.name}: nft's table {table} drops what it does not accept ({hook}), and our"
                f" rules in iptables cannot change that; {_PASSES[hook].format(**values)}"
            )


def _covering(address: str, networks: Sequence[str]) -> str:
    """The first network that an address lies in, "" when none does."""
    return next((cidr for cidr in networks if ip_address(address) in ip_network(cidr)), "")


def _within(cidr: str, networks: Sequence[str]) -> bool:
    """Whether one of the networks holds all of a network."""
    inner = ip_network(cidr)
    return any(
        inner.version == outer.version and int(inner[0]) >= int(outer[0])
        and int(inner[-1]) <= int(outer[-1])
        for outer in map(ip_network, networks)
    )  # fmt: skip
