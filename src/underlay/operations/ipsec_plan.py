"""What a link needs on one host, and how a host differs from it. Pure.

The rule: live state is compared, never only a file: rules, routes, the interface, the unit, and on
a gateway that every child has a security association.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from underlay.facts.ipsec_host import CONNECTIONS, FOLDER, TABLE, Host, Selectors
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
#: Table and chain of iptables that jump to ours, and whether ours must come before all others.
HOOKS = {
    "IN": ("filter", "INPUT", True),
    "LK": ("filter", "FORWARD", True),
    "FW": ("filter", "FORWARD", False),
    "OUT": ("filter", "OUTPUT", True),
    "MSS": ("mangle", "FORWARD", False),
    "NAT": ("nat", "POSTROUTING", True),
}


@dataclass(frozen=True)
class Child:
    """One pair of sets of networks, from this host's side."""

    name: str
    local: tuple[str, ...]
    remote: tuple[str, ...]


@dataclass(frozen=True)
class Tunnel:
    """One link on one of its hosts.

    gateway: this host ends it, else it only routes to `via`; first: it begins; peer: the far
    gateway's outer address or name, `peer_address` only when numeric; local: own outer address or
    `%any`; device and if_id: of the XFRM interface, "" and 0 in policy mode; algorithms: what the
    daemon must be able to do; forward_secret: children exchange keys of their own; secret: how the
    two prove who they are, `psk` or `certificate`; provers: gateways of ours, who begins first.
    """

    name: str
    gateway: bool
    first: bool
    local: str
    peer: str
    peer_address: str
    identity: str
    peer_identity: str
    secret: str
    children: tuple[Child, ...]
    bypass: tuple[str, ...]
    accept_covered: tuple[str, ...]
    proposals: tuple[str, ...]
    esp_proposals: tuple[str, ...]
    algorithms: frozenset[str]
    forward_secret: bool
    encapsulate: bool
    dpd_delay_s: int
    rekey_s: int
    child_rekey_s: int
    device: str
    if_id: int
    via: str
    mtu: int
    keep_unproved: bool
    provers: tuple[str, ...]

    @property
    def remote(self) -> tuple[str, ...]:
        """Every far network once."""
        return tuple(dict.fromkeys(cidr for child in self.children for cidr in child.remote))

    @property
    def routes(self) -> tuple[str, ...]:
        """What this host's own table holds: nodes route to the gateway, it to its interface."""
        return self.remote if self.via or self.device else ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every (local, far) pair that a child carries."""
        return tuple(
            dict.fromkeys(
                (own, far) for child in self.children for own in child.local for far in child.remote
            )
        )


@dataclass(frozen=True)
class Change:
    """What a host needs: files by path with their mode, and why, for people.

    renewed: what the two gateways agreed on changes, so the live association must go.
    """

    files: Mapping[str, tuple[str, str]]
    reasons: tuple[str, ...]
    renewed: bool


def chain(kind: str, name: str) -> str:
    """Our chain of one kind for one link."""
    return f"IPSEC-{kind}-{name}"


def env_path(name: str) -> str:
    """What the helper reads of a link."""
    return f"{FOLDER}/{name}.env"


def rules_path(name: str) -> str:
    """The link's chains, as iptables-restore takes them."""
    return f"{FOLDER}/{name}.rules"


def connection_path(name: str) -> str:
    """The link's connection, without any secret."""
    return f"{CONNECTIONS}/underlay-{name}.conf"


def rules(wanted: Tunnel) -> dict[str, tuple[str, ...]]:
    """Chain kind -> its rules, as `iptables -S` prints them without `-A CHAIN`."""
    nat = [f"-d {cidr} -j RETURN" for cidr in wanted.bypass]
    nat += [f"-s {own} -d {far} -j ACCEPT" for own, far in wanted.pairs]
    found = {"NAT": tuple(nat)}
    if not wanted.gateway:
        return found
    source_ = f"-s {wanted.peer_address}/32 " if wanted.peer_address else ""
    found["IN"] = (
        f"{source_}-p udp -m udp --dport 500 -j ACCEPT",
        f"{source_}-p udp -m udp --dport 4500 -j ACCEPT",
        f"{source_}-p esp -j ACCEPT",
    )
    spared = [f"-d {cidr} -j RETURN" for cidr in wanted.bypass]
    into, out_of = _through(wanted)
    leak, passing, out, mss = [*spared], [*spared], [*spared], [*spared]
    for own, far in wanted.pairs:
        there, back = f"-s {own} -d {far}", f"-s {far} -d {own}"
        leak += [f"{there} {into} -j RETURN", f"{there} -j DROP"]
        leak += [f"{back} {out_of} -j RETURN", f"{back} -j DROP"]
        passing += [f"{there} -j ACCEPT", f"{back} -j ACCEPT"]
        out += [f"{there} {into} -j RETURN", f"{there} -j DROP"]
        size = wanted.mtu - 40
        clamp = (
            "-p tcp -m tcp --tcp-flags SYN,RST SYN -m tcpmss"
            f" --mss {size + 1}:65535 -j TCPMSS --set-mss {size}"
        )
        mss += [f"{there} {clamp}", f"{back} {clamp}"]
    return {
        **found, "LK": tuple(leak), "FW": tuple(passing), "OUT": tuple(out), "MSS": tuple(mss),
    }  # fmt: skip


def _through(wanted: Tunnel) -> tuple[str, str]:
    """What a packet that goes into the link matches, and one that came out of it."""
    if wanted.device:
        return f"-o {wanted.device}", f"-i {wanted.device}"
    return "-m policy --dir out --pol ipsec", "-m policy --dir in --pol ipsec"


def texts(wanted: Tunnel) -> dict[str, tuple[str, str]]:
    """Every file of a link on this host that holds no secret: path -> (text, mode)."""
    found = {
        env_path(wanted.name): (
            render("ipsec/link.env.j2", link=wanted, hooks=_hooks(wanted)),
            "0600",
        ),
        rules_path(wanted.name): (_rules_text(wanted), "0600"),
    }
    if wanted.gateway:
        found[connection_path(wanted.name)] = (
            render("ipsec/connection.conf.j2", link=wanted),
            "0600",
        )
    return found


def _hooks(wanted: Tunnel) -> list[str]:
    return [
        f"{table}:{start}:{chain(kind, wanted.name)}:{'top' if top else 'end'}"
        for kind, (table, start, top) in HOOKS.items()
        if kind in rules(wanted)
    ]


def _rules_text(wanted: Tunnel) -> str:
    lines = []
    by_kind = rules(wanted)
    for table in ("filter", "mangle", "nat"):
        kinds = [kind for kind, hook in HOOKS.items() if hook[0] == table and kind in by_kind]
        if kinds:
            lines.append(f"*{table}")
            lines += [f":{chain(kind, wanted.name)} - [0:0]" for kind in kinds]
            lines += [f"-A {chain(kind, wanted.name)} {r}" for kind in kinds for r in by_kind[kind]]
            lines.append("COMMIT")
    return "\n".join(lines) + "\n"


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
