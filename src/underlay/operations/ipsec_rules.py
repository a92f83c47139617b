"""Rules of a link on a host: chains of iptables, and a table of nft. Pure.

The rule: a verdict of one table is none in another. What nft masquerades is not held back by an
accept in iptables, so that the addresses of pods are kept by a translation to themselves: the
kernel makes one translation of a connection, and the table that makes ours comes first.
"""

from __future__ import annotations

import hashlib

from underlay.facts.ipsec_host import NFT, Exemption
from underlay.operations.ipsec_tunnel import Tunnel

#: Table and chain of iptables that jump to ours, and whether ours must come before all others.
HOOKS = {
    "IN": ("filter", "INPUT", True),
    "LK": ("filter", "FORWARD", True),
    "FW": ("filter", "FORWARD", False),
    "OUT": ("filter", "OUTPUT", True),
    "MSS": ("mangle", "FORWARD", False),
    "NAT": ("nat", "POSTROUTING", True),
}
#: Set on packets that kube-proxy or flannel has to masquerade, so that an answer finds back.
MASQUERADED = "0x4000"


def chain(kind: str, name: str) -> str:
    """Our chain of one kind for one link."""
    return f"IPSEC-{kind}-{name}"


def exemption(wanted: Tunnel) -> str:
    """The link's table of nft, whole; it replaces what is there."""
    table = f"{NFT}{wanted.name}"
    lines = _exempt(wanted)
    first = f'{lines[0]} comment "{_mark(lines)}"'
    body = "".join(f"    {line}\n" for line in (first, *lines[1:]))
    return (
        f"# Managed by underlay: IPsec link {wanted.name}\n"
        f"table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n  chain post {{\n"
        # 100 is where everybody masquerades, iptables too
        "    type nat hook postrouting priority 90; policy accept;\n"
        f"{body}  }}\n}}\n"
    )


def live_exemption(wanted: Tunnel) -> Exemption:
    """What a host says of that table when it is as wanted."""
    lines = _exempt(wanted)
    return Exemption(_mark(lines), len(lines))


def _exempt(wanted: Tunnel) -> list[str]:
    return [
        f"meta mark and {MASQUERADED} == {MASQUERADED} return",
        *(f"ip daddr {cidr} return" for cidr in wanted.bypass),
        *(f"ip saddr {own} ip daddr {far} snat to ip saddr" for own, far in wanted.pairs),
    ]


def _mark(lines: list[str]) -> str:
    """nft prints rules in words of its release; the comment of the first tells them apart."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def rules(wanted: Tunnel) -> dict[str, tuple[str, ...]]:
    """Chain kind -> its rules, as `iptables -S` prints them without `-A CHAIN`."""
    nat = [f"-m mark --mark {MASQUERADED}/{MASQUERADED} -j RETURN"]
    nat += [f"-d {cidr} -j RETURN" for cidr in wanted.bypass]
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


def hooks(wanted: Tunnel) -> list[str]:
    """Where the helper lets chains of the kernel come to ours: `TABLE:CHAIN:OURS:top|end`."""
    return [
        f"{table}:{start}:{chain(kind, wanted.name)}:{'top' if top else 'end'}"
        for kind, (table, start, top) in HOOKS.items()
        if kind in rules(wanted)
    ]


def rules_text(wanted: Tunnel) -> str:
    """The link's chains, as iptables-restore takes them."""
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
