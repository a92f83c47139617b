"""IPsec on a host: what the daemon, the kernel and our files say. No secret is read.

The rule: of a secret only its file's mode is known here. Even a hash would let anybody who sees the
output guess a weak one; `operations.ipsec_secrets` compares on the host instead.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay import journal
from underlay.facts import session
from underlay.facts.ipsec_host import (
    BEFORE,
    CERTIFICATES,
    CHANGE,
    CONNECTIONS,
    FOLDER,
    NFT,
    SWANCTL,
    TABLE,
    Exemption,
    Host,
    Interface,
    Route,
    Selectors,
)
from underlay.facts.script import ScriptFact

#: Our secrets, certificates and keys; a name of each kind, so that no pattern takes others' files.
SECRETS = " ".join(
    (
        f"{CONNECTIONS}/secret-underlay-*.conf",
        *(f"{SWANCTL}/{kind}/underlay-*.pem" for kind in CERTIFICATES),
    )
)

# the order of what is there matters: a masquerading rule before ours would win
_RULES = (
    "for t in filter mangle nat; do iptables -w -t $t -S |"
    " grep -E '^-A (IPSEC-|(INPUT|FORWARD|OUTPUT|POSTROUTING) )' | sed \"s/^/$t /\"; done"
)

# the kernel is asked whether it could, by a table that is not made
_NFT = (
    "grep '^nft_masq ' /proc/modules; echo 'table ip underlay-probe { chain c { type nat hook"
    " postrouting priority 90; ip saddr 192.0.2.1 snat to ip saddr; }; }' | nft -c -f - &&"
    " { echo usable; for t in $(nft list tables | sed -n 's/^table ip //p' |"
    f" grep ^{NFT}); do nft list table ip $t; done; }}"
)


class IPsecHost(ScriptFact[Host | None]):
    """Everything the ipsec feature needs of one host, in one command."""

    @override
    def command(self, hashed: Iterable[str]) -> StringCommand:
        return self.run(readings(hashed))

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> Host:
        return parse(readings)


def readings(hashed: Iterable[str]) -> dict[str, str]:
    """The shell text of each reading."""
    paths = " ".join(shlex.quote(path) for path in hashed)
    return {
        "tools": "for t in swanctl ip iptables iptables-restore ipset ss flock systemctl apt-get"
        " modprobe; do command -v $t >/dev/null && echo $t; done",
        "daemon": (
            "echo version $(swanctl --version); for u in strongswan strongswan-starter; do"
            " echo $u $(systemctl is-enabled $u) $(systemctl is-active $u); done"
        ),
        "included": f"grep -E '^[[:space:]]*include[[:space:]]+conf.d/' {SWANCTL}/swanctl.conf",
        "algorithms": "swanctl --list-algs",
        "loaded": "swanctl --list-conns --raw",
        "associations": "swanctl --list-sas --raw",
        "files": (
            f"cd {FOLDER} && grep -sH '' *.env *.rules *.nft; cd {CONNECTIONS} &&"
            " grep -sH '' underlay-*.conf"
        ),
        "secrets": f"stat -c '%a %n' {SECRETS}",
        "hashes": f"sha256sum {paths}",
        "units": "systemctl is-enabled underlay-ipsec.service;"
        " systemctl is-active underlay-ipsec-refresh.timer",
        "rules": _RULES,
        "nft": _NFT,
        "dropping": "nft list chains",
        "table": f"ip -4 route show table {TABLE}",
        "ruled": f"ip -4 rule show pref {TABLE}",
        "interfaces": "ip -d -o link show type xfrm",
        "main": "ip -4 route show table main",
        "forward": "cat /proc/sys/net/ipv4/ip_forward",
        "ports": "cat /proc/net/udp /proc/net/udp6",
        "ssh": session.READING,
        "bgp": "ss -Htn state established '( sport = :179 or dport = :179 )'",
        "pools": "ipset list cali40all-ipam-pools",
        "kept": f"ls {BEFORE}",
        "journal": f"cat {shlex.quote(journal.path(CHANGE))}",
    }


def parse(found: Mapping[str, list[str]]) -> Host:
    """From the lines of each reading."""
    daemon = {line.split()[0]: line.split()[1:] for line in found["daemon"] if line.split()}
    version = re.search(r"\d+\.\d+\.\d+", " ".join(daemon.get("version", [])))
    swan = [*daemon.get("strongswan", []), "", ""]
    hashes = [line.split(None, 1) for line in found["hashes"]]
    chains, order = _rules(found["rules"])
    main = [line.split() for line in found["main"] if line.strip()]
    ssh, device = session.parse(found["ssh"])
    units = [line.strip() for line in found["units"]]
    return Host(
        tools=frozenset(found["tools"]),
        version=version.group(0) if version else "",
        starter="active" in daemon.get("strongswan-starter", []),
        daemon_enabled=swan[0] == "enabled",
        daemon_active=swan[1] == "active",
        included=bool(found["included"]),
        algorithms=_algorithms(found["algorithms"]),
        loaded=frozenset(re.findall(r"list-conn event \{([\w-]+) \{", "\n".join(found["loaded"]))),
        associations=associations(found["associations"]),
        files=_files(found["files"]),
        secrets={path: mode for mode, path in (line.split(None, 1) for line in found["secrets"])},
        hashes={path: digest for digest, path in hashes},
        enabled="enabled" in units,
        refreshing="active" in units,
        chains=chains,
        order=order,
        table=dict(_route(line) for line in found["table"] if line.strip()),
        ruled=any(f"lookup {TABLE}" in line for line in found["ruled"]),
        interfaces=dict(_interface(line) for line in found["interfaces"] if "if_id" in line),
        connected=tuple(
            words[0] for words in main if "kernel" in words and "link" in words and "/" in words[0]
        ),
        mains=tuple((words[0], _after("dev", words)) for words in main),
        ip_forward=found["forward"] == ["1"],
        ike_port_taken=any(re.search(r":01F4 ", line) for line in found["ports"]),
        ssh=ssh,
        ssh_device=device,
        bgp=tuple(sorted({_peer(line) for line in found["bgp"] if line.strip()})),
        pools=_members(found["pools"]),
        exempt=_exempt(found["nft"]),
        nft_masquerades=any(line.startswith("nft_masq ") for line in found["nft"]),
        dropping=_dropping(found["dropping"]),
        kept=frozenset(line for line in map(str.strip, found["kept"]) if line),
        entries=journal.parse(found["journal"]),
    )


def associations(lines: Iterable[str]) -> dict[str, dict[str, Selectors]]:
    """Connection -> children that are installed with their networks, from `--list-sas --raw`.

    Every event is `list-sa event {CONNECTION {key=value ... child-sas {CHILD-n {name=...}}}}`.
    """
    live: dict[str, dict[str, Selectors]] = {}
    for line in lines:
        event = re.match(r"list-sa event \{([\w-]+) \{(.*)", line)
        if event is None or " state=ESTABLISHED" not in f" {event.group(2)}":
            continue
        children = live.setdefault(event.group(1), {})
        for name, rest in re.findall(r"\{name=([\w-]+) ([^{}]*)", event.group(2)):
            if "state=INSTALLED" in rest:
                children[name] = Selectors(_networks("local", rest), _networks("remote", rest))
    return live


def _networks(side: str, text: str) -> tuple[str, ...]:
    found = re.search(rf"{side}-ts=\[([^\]]*)\]", text)
    return tuple(sorted(found.group(1).split())) if found else ()


def _algorithms(lines: Iterable[str]) -> frozenset[str]:
    """Names such as `AES_CBC` from lines such as `  AES_CBC[aes]`."""
    return frozenset(re.findall(r"([A-Z0-9_]+)\[", "\n".join(lines)))


def _files(lines: Iterable[str]) -> dict[str, str]:
    files: dict[str, str] = {}
    for line in lines:
        name, _, text = line.partition(":")
        path = f"{CONNECTIONS if name.endswith('.conf') else FOLDER}/{name}"
        files[path] = files.get(path, "") + text + "\n"
    return files


def _rules(
    lines: Iterable[str],
) -> tuple[dict[tuple[str, str], tuple[str, ...]], dict[tuple[str, str], tuple[str, ...]]]:
    """Our chains with their rules, and the targets of every built-in chain in order."""
    chains: dict[tuple[str, str], tuple[str, ...]] = {}
    order: dict[tuple[str, str], tuple[str, ...]] = {}
    for line in lines:
        table, _, name, rule = (*line.split(" ", 3), "")[:4]
        key = (table, name)
        if name.startswith("IPSEC-"):
            chains[key] = (*chains.get(key, ()), rule)
        else:
            target = re.search(r"-j (\S+)", rule)
            order[key] = (*order.get(key, ()), target.group(1) if target else "")
    return chains, order


def _exempt(lines: Iterable[str]) -> dict[str, Exemption] | None:
    """Our tables from `nft list table`; None when nft said that it cannot have one."""
    found: dict[str, Exemption] | None = None
    link = ""
    for line in map(str.strip, lines):
        if line == "usable":
            found = {}
        elif found is not None and line.startswith(f"table ip {NFT}"):
            link = line.split()[2].removeprefix(NFT)
            found[link] = Exemption("", 0)
        elif found is not None and line.endswith(("return", "snat to ip saddr", '"')):
            mark = re.search(r'comment "([0-9a-f]+)"', line)
            known = found[link]
            found[link] = Exemption(mark.group(1) if mark else known.mark, known.rules + 1)
    return found


def _dropping(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(table, hook) of nft's chains that drop what they do not accept, without those of iptables.

    iptables' own chains are in tables of nft, too, and ours come first there.
    """
    found = []
    table = ""
    for line in map(str.strip, lines):
        words = line.split()
        if words[:1] == ["table"]:
            table = " ".join(words[1:3])
        hook = re.match(r"type filter hook (input|forward|output) .*policy drop;", line)
        if hook and table.startswith(("ip ", "inet ")) and table not in {"ip filter", "ip mangle"}:
            found.append((table, hook.group(1)))
    return tuple(found)


def _route(line: str) -> tuple[str, Route]:
    """ip leaves /32 out and says `default`; a route that only leads on is `throw`."""
    words = line.split()
    throws = words[0] == "throw"
    to = words[1] if throws else words[0]
    to = "0.0.0.0/0" if to == "default" else to if "/" in to else f"{to}/32"
    via = "throw" if throws else _after("via", words)
    return to, Route(via, _after("dev", words), int(_after("mtu", words) or 0))


def _interface(line: str) -> tuple[str, Interface]:
    words = line.split()
    name = words[1].rstrip(":").partition("@")[0]
    return name, Interface(int(_after("if_id", words), 16), int(_after("mtu", words)))


def _peer(line: str) -> str:
    """The far address of a line of ss: the last column, without its port."""
    return line.rsplit(maxsplit=1)[-1].rpartition(":")[0].strip("[]").removeprefix("::ffff:")


def _members(lines: list[str]) -> tuple[str, ...] | None:
    if not lines:
        return None
    start = next((n for n, line in enumerate(lines) if line.startswith("Members")), len(lines))
    return tuple(line.strip() for line in lines[start + 1 :] if line.strip())


def _after(word: str, words: list[str]) -> str:
    return words[words.index(word) + 1] if word in words[:-1] else ""
