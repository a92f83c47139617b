"""WireGuard on a host: what is live, what our files say, what stands in the way. No secret is read.

The rule: a private or preshared key never leaves the host; its public key or its hash does.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay import journal
from underlay.facts import firewall, guard, session
from underlay.facts.script import ScriptFact
from underlay.facts.wireguard_host import (
    CHANGE,
    FOLDER,
    PROTOCOL,
    Host,
    Link,
    LivePeer,
    Route,
    Unit,
)


class WireGuardHost(ScriptFact[Host | None]):
    """Everything the wireguard feature needs of one host, in one command."""

    @override
    def command(self, hashed: Iterable[str]) -> StringCommand:
        return self.run(readings(hashed))

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> Host:
        return parse(readings)


class PublicKeys(ScriptFact[dict[str, str]]):
    """Interface -> public key of its key file; {} for a host without any."""

    @override
    def command(self) -> StringCommand:
        return self.run({"keys": _KEYS})

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> dict[str, str]:
        return {line.split()[0]: line.split()[1] for line in readings["keys"]}


class PresharedHashes(ScriptFact[dict[tuple[str, str], str]]):
    """(interface, peer's file) -> SHA-256 of the preshared key in that file."""

    @override
    def command(self) -> StringCommand:
        return self.run({"psk": _PRESHARED})

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> dict[tuple[str, str], str]:
        return _preshared(readings["psk"])


# an empty name is left where a pattern matches nothing, so every loop asks for the file
_KEYS = (
    f'for f in {FOLDER}/*.key; do [ -s "$f" ] || continue; n=${{f##*/}};'
    ' echo "${n%.key} $(wg pubkey < "$f") $(stat -c %a "$f")"; done'
)

# without the line feed at its end, as wg shows the key; printf is no process
_PRESHARED = (
    f'for f in {FOLDER}/psk/*/*; do [ -s "$f" ] || continue;'
    ' h=$(printf %s "$(cat "$f")" | sha256sum); echo "${h%% *} $f"; done'
)

# `read` splits at tabs; the private key is a field that is dropped, and printf is no process
_LIVE = r"""wg show all dump | while IFS="$(printf '\t')" read -r dev a b c d e f g h; do
if [ -z "$e" ]; then printf 'link %s %s %s\n' "$dev" "$b" "$c"; continue; fi
[ "$b" = "(none)" ] && b= || b=$(printf %s "$b" | sha256sum)
printf 'peer %s %s psk=%s %s %s %s %s\n' "$dev" "$a" "${b%% *}" "$c" "$d" "$e" "$h"; done"""

# only the arguments and variables that say which address or interface a program takes
_PROGRAMS = r"""for p in kubelet flanneld; do for id in $(pidof $p); do
echo $p $(tr '\0=' '\n\n' < /proc/$id/cmdline | grep -A 1 -E '^--(node-ip|iface)$'); done; done
for id in $(pidof -s calico-node); do echo calico-node $(tr '\0' '\n' < /proc/$id/environ |
grep -E '^(IP_AUTODETECTION_METHOD|CALICO_NETWORKING_BACKEND)='); done"""


def readings(hashed: Iterable[str]) -> dict[str, str]:
    """The shell text of each reading."""
    paths = " ".join(shlex.quote(path) for path in hashed)
    return {
        "kernel": (
            "if [ -d /sys/module/wireguard ]; then echo loaded;"
            " elif modprobe -n -q wireguard; then echo loadable; else echo missing; fi;"
            " for p in wireguard-go boringtun-cli boringtun; do"
            " command -v $p >/dev/null && { echo $p; break; }; done"
        ),
        "tools": "for t in wg ip iptables nft flock systemctl; do"
        " command -v $t >/dev/null && echo $t; done;"
        " command -v ip6tables >/dev/null && [ -e /proc/net/if_inet6 ] && echo ip6tables",
        "live": _LIVE,
        "links": "ip -o link show",
        "addresses": "ip -o -4 addr show",
        "routes": "ip -4 route show table main",
        "sysctl": "grep -sH '' /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter",
        "keys": _KEYS,
        "psk": _PRESHARED,
        "files": f"cd {FOLDER} && grep -sH '' *.env *.peers",
        "hashes": f"sha256sum {paths}",
        "units": (
            f'for f in {FOLDER}/*.env; do [ -e "$f" ] || continue; n=${{f##*/}}; n=${{n%.env}};'
            " echo $n $(systemctl is-enabled underlay-wireguard@$n)"
            " $(systemctl is-active underlay-wireguard@$n underlay-wireguard-refresh@$n.timer);"
            " done"
        ),
        "firewall": firewall.READING,
        "firewall6": firewall.READING_V6,
        "walls": firewall.READING_WALLS,
        "ports": "cat /proc/net/udp /proc/net/udp6",
        "ssh": session.READING,
        "programs": _PROGRAMS,
        "journal": f"cat {shlex.quote(journal.path(CHANGE))}",
        "guard": guard.reading(CHANGE),
    }


def parse(found: Mapping[str, list[str]]) -> Host:
    """From the lines of each reading."""
    kernel, userspace = (*found["kernel"], "", "")[:2]
    keys = [line.split() for line in found["keys"]]
    files: dict[str, str] = {}
    for line in found["files"]:
        name, _, text = line.partition(":")
        path = f"{FOLDER}/{name}"
        files[path] = files.get(path, "") + text + "\n"
    hashes = [line.split(None, 1) for line in found["hashes"]]
    ssh, ssh_device = session.parse(found["ssh"])
    forward = "/proc/sys/net/ipv4/ip_forward:1" in found["sysctl"]
    rules, drops = firewall.rules(found["firewall"])
    rules_v6, _ = firewall.rules(found["firewall6"])
    return Host(
        kernel=kernel,
        userspace=userspace,
        tools=frozenset(found["tools"]),
        links=links(found),
        routes=tuple(_route(line) for line in found["routes"] if line.strip()),
        ip_forward=forward,
        keys={words[0]: words[1] for words in keys},
        open_keys=tuple(words[0] for words in keys if words[2] != "600"),
        preshared=_preshared(found["psk"]),
        files=files,
        hashes={path: digest for digest, path in hashes},
        units={line.split()[0]: _unit(line.split()[1:]) for line in found["units"]},
        firewall=rules,
        firewall_v6=rules_v6,
        drops=drops,
        walls=firewall.walls(found["walls"], iptables="iptables" in found["tools"]),
        ports=frozenset(_port(line) for line in found["ports"] if ":" in line.split()[0]),
        ssh=ssh,
        ssh_device=ssh_device,
        programs=tuple(tuple(line.split()) for line in found["programs"] if line),
        entries=journal.parse(found["journal"]),
        guard=guard.parse(found["guard"]),
    )


def links(found: Mapping[str, list[str]]) -> dict[str, Link]:
    """Every interface by name."""
    addresses: dict[str, tuple[str, ...]] = {}
    for line in found["addresses"]:
        words = line.split()
        addresses[words[1]] = (*addresses.get(words[1], ()), words[3])
    strict = dict(line.rpartition(":")[::2] for line in found["sysctl"])
    heads = {line.split()[1]: line.split()[2:] for line in found["live"] if line[:5] == "link "}
    peers: dict[str, dict[str, LivePeer]] = {}
    for line in found["live"]:
        words = line.split(" ")
        if words[0] == "peer":
            peers.setdefault(words[1], {})[words[2]] = _peer(words[3:])
    result = {}
    for line in found["links"]:
        name = line.split(": ")[1].partition("@")[0]
        head = heads.get(name)
        result[name] = Link(
            up="UP" in line.partition("<")[2].partition(">")[0].split(","),
            mtu=int(_after("mtu", line)),
            addresses=addresses.get(name, ()),
            rp_filter=int(strict.get(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "0")),
            public_key=head[0] if head else None,
            port=int(head[1]) if head else 0,
            peers=peers.get(name, {}),
        )
    return result


def _peer(words: list[str]) -> LivePeer:
    shared, endpoint, networks, handshake, keepalive = words
    return LivePeer(
        endpoint="" if endpoint == "(none)" else endpoint,
        allowed_ips=() if networks == "(none)" else tuple(networks.split(",")),
        latest_handshake=int(handshake),
        persistent_keepalive=0 if keepalive == "off" else int(keepalive),
        preshared=shared.removeprefix("psk="),
    )


def _route(line: str) -> Route:
    words = line.split()
    return Route(words[0], _after("dev", line), _after("proto", line) == str(PROTOCOL))


def _unit(words: list[str]) -> Unit:
    enabled, active, refreshed = (*words, "", "", "")[:3]
    return Unit(enabled == "enabled", active == "active", refreshed == "active")


def _preshared(lines: Iterable[str]) -> dict[tuple[str, str], str]:
    found = {}
    for line in lines:
        digest, path = line.split(None, 1)
        interface, _, node = path.removeprefix(f"{FOLDER}/psk/").partition("/")
        found[interface, node] = digest
    return found


def _port(line: str) -> int:
    return int(line.split()[1].rpartition(":")[2], 16)


def _after(word: str, line: str) -> str:
    words = line.split()
    return words[words.index(word) + 1] if word in words[:-1] else ""
