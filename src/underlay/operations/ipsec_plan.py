"""What a link needs on one host, and how a host differs from it. Pure.

The rule: live state is compared, never only a file: rules, routes, the interface, the unit, and on
a gateway that every child has a security association.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from underlay.facts.ipsec_host import CONNECTIONS, FOLDER, TABLE, Host, Selectors
from underlay.operations.ipsec_rules import (
    HOOKS,
    chain,
    exemption,
    hooks,
    live_exemption,
    rules,
    rules_text,
)
from underlay.operations.ipsec_tunnel import Tunnel
from underlay.render import render, source

HELPER = "/usr/local/sbin/underlay-ipsec"
UNITS = "/etc/systemd/system"
#: Files that all links share: path -> (template, mode).
SHARED = {
    HELPER: ("ipsec/underlay-ipsec.sh", "0755"),
    f"{UNITS}/underlay-ipsec.service": ("ipsec/underlay-ipsec.service", "0644"),
    f"{UNITS}/underlay-ipsec-refresh.service": ("ipsec/underlay-ipsec-refresh.service", "0644"),
    f"{UNITS}/underlay-ipsec-refresh.timer": ("ipsec/underlay-ipsec-refresh.timer", "0644"),
}


@dataclass(frozen=True)
class Change:
    """What a host needs: files by path with their mode, and why, for people.

    renewed: what the two gateways agreed on changes, so the live association must go.
    """

    files: Mapping[str, tuple[str, str]]
    reasons: tuple[str, ...]
    renewed: bool


def env_path(name: str) -> str:
    """What the helper reads of a link."""
    return f"{FOLDER}/{name}.env"


def rules_path(name: str) -> str:
    """The link's chains, as iptables-restore takes them."""
    return f"{FOLDER}/{name}.rules"


def exemption_path(name: str) -> str:
    """The link's table of nft, as `nft -f` takes it."""
    return f"{FOLDER}/{name}.nft"


def connection_path(name: str) -> str:
    """The link's connection, without any secret."""
    return f"{CONNECTIONS}/underlay-{name}.conf"


def texts(wanted: Tunnel) -> dict[str, tuple[str, str]]:
    """Every file of a link on this host that holds no secret: path -> (text, mode)."""
    found = {
        env_path(wanted.name): (
            render("ipsec/link.env.j2", link=wanted, hooks=hooks(wanted)),
            "0600",
        ),
        rules_path(wanted.name): (rules_text(wanted), "0600"),
        exemption_path(wanted.name): (exemption(wanted), "0600"),
    }
    if wanted.gateway:
        found[connection_path(wanted.name)] = (
            render("ipsec/connection.conf.j2", link=wanted),
            "0600",
        )
    return found


def compare(found: Host, wanted: Tunnel) -> Change:
    """How a host differs from what one link needs, secrets apart."""
    files = {
        path: (text, mode)
        for path, (text, mode) in texts(wanted).items()
        if found.files.get(path, "") != text
    }
    reasons = [f"{path} differs" for path in files]
    reasons += _live(found, wanted)
    if wanted.name in found.unproved:
        reasons.append(f"{wanted.name}: an earlier run ended before it was proved")
    return Change(files, tuple(reasons), connection_path(wanted.name) in files)


def _live(found: Host, wanted: Tunnel) -> Iterator[str]:
    if not found.enabled or not found.refreshing:
        yield f"{wanted.name}: our unit does not run or does not start at boot"
    for kind, lines in rules(wanted).items():
        own = chain(kind, wanted.name)
        table, start, top = HOOKS[kind]
        if found.chains.get((table, own), ()) != lines:
            yield f"{wanted.name}: our rules in {own} are not there"
        if not found.jumps(table, start, own, top=top):
            yield f"{wanted.name}: {start} of {table} does not come to {own} in time"
    if found.exempt is not None and found.exempt.get(wanted.name) != live_exemption(wanted):
        yield f"{wanted.name}: our table of nft is not there, or not as wanted"
    yield from _routes(found, wanted)
    if wanted.gateway:
        yield from _gateway(found, wanted)


def _routes(found: Host, wanted: Tunnel) -> Iterator[str]:
    for cidr in wanted.routes:
        route = found.table.get(cidr)
        if route is None or (route.via or route.device) != (wanted.via or wanted.device):
            yield f"{wanted.name}: no route to {cidr} in table {TABLE}"
        elif route.mtu != wanted.mtu:
            yield f"{wanted.name}: route to {cidr} has MTU {route.mtu}, not {wanted.mtu}"
    for cidr in wanted.bypass if wanted.routes else ():
        spared = found.table.get(cidr)
        if spared is None or spared.via != "throw":
            yield f"{wanted.name}: {cidr} is not spared in table {TABLE}"
    if wanted.routes and not found.ruled:
        yield f"{wanted.name}: no rule leads to table {TABLE}"


def _gateway(found: Host, wanted: Tunnel) -> Iterator[str]:
    if not found.ip_forward:
        yield "net.ipv4.ip_forward is off"
    if wanted.device:
        interface = found.interfaces.get(wanted.device)
        if interface is None:
            yield f"{wanted.name}: no interface {wanted.device}"
        elif (interface.if_id, interface.mtu) != (wanted.if_id, wanted.mtu):
            yield f"{wanted.name}: {wanted.device} has another if_id or MTU"
    if wanted.name not in found.loaded:
        yield f"{wanted.name}: the daemon does not know the connection"
    yield from unlike(found.associations.get(wanted.name, {}), wanted)


def unlike(live: Mapping[str, Selectors], wanted: Tunnel) -> Iterator[str]:
    """Children without a security association, and those that carry other networks, in words."""
    for child in wanted.children:
        found = live.get(child.name)
        if found is None:
            yield f"{wanted.name}: child {child.name} has no security association"
        elif (found.local, found.remote) != (
            tuple(sorted(child.local)), tuple(sorted(child.remote)),
        ):  # fmt: skip
            yield (
                f"{wanted.name}: child {child.name} carries {' '.join(found.local)} and"
                f" {' '.join(found.remote)}, not all that is wanted; compare the networks with"
                " what the far side has"
            )


def shared_files(found: Host) -> dict[str, tuple[str, str]]:
    """Files of all links that differ on this host."""
    return {
        path: (source(template), mode)
        for path, (template, mode) in SHARED.items()
        if found.hashes.get(path) != digest(source(template))
    }


def digest(text: str) -> str:
    """The SHA-256 of a file with this text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
