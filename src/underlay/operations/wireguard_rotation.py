"""Shell text of a key's replacement: peers know the new key before the member takes it. Pure.

The rule: each host decides by what it sees on the wire, whether or not anybody can still reach it
to say so. A peer goes over when the new key has made a handshake, and forgets it otherwise; the
member stays with it when one peer has gone over, because that one knows no other any more. The
clock of a host may jump meanwhile: waits are counted in seconds since its start, and a handshake
is new when its time is another one than before.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay.facts.script import ScriptFact
from underlay.facts.wireguard_host import FOLDER
from underlay.operations.wireguard_plan import safe

#: Where jobs leave what came of them; nothing of it survives a boot.
RUN = "/run/underlay-wireguard"
#: Seconds before a member takes its new key, and how long it waits for handshakes.
DELAY, PATIENCE = 1, 40
#: Seconds that a peer waits for one: the member takes its key when all of them have begun.
READY = PATIENCE + 60


class Ran(ScriptFact[list[str]]):
    """What a script printed on a host."""

    @override
    def command(self, script: str) -> StringCommand:
        return self.run({"out": script})

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> list[str]:
        return [line for line in readings["out"] if line]


def next_key(interface: str) -> str:
    """Make the new key beside the old one; prints the old and the new public key."""
    key = f"{FOLDER}/{interface}.key"
    return (
        f"umask 077; wg genkey > {key}.next && sync {key}.next"
        f" && wg pubkey < {key} && wg pubkey < {key}.next"
    )


def silent(interface: str, peers: Mapping[str, tuple[str, str]]) -> str:
    """Prints the names of those without a session. peers: name -> public key, overlay address.

    An answer to a ping is one; where those are dropped, a handshake of the last minutes is.
    """
    asks = "\n".join(
        f"(ping -c 3 -i 0.5 -W 2 {address} >/dev/null 2>&1 && exit;"
        f" last=$(wg show {interface} latest-handshakes | while read -r key at;"
        f' do [ "$key" != {shlex.quote(public)} ] || echo $at; done);'
        # one of the future tells of a clock that was set back, and nothing of the peer
        " age=$(($(date +%s) - ${last:-0}));"
        f" [ $age -ge 0 ] && [ $age -lt 150 ] || echo {shlex.quote(name)}) &"
        for name, (public, address) in peers.items()
    )
    return f"{asks}\nwait"


def take(interface: str, peers: Mapping[str, str]) -> str:
    """The job of the member itself. peers: public key -> overlay address."""
    key = f"{FOLDER}/{interface}.key"
    pings = "\n".join(f"  ping -c 1 -W 1 {address} >/dev/null 2>&1 &" for address in peers.values())
    return _job(
        interface,
        f"""sleep {DELAY}
began=$(clock)
before=$(wg show {interface} latest-handshakes) second=$(date +%s)
was() {{ printf '%s\\n' "$before" | while read -r a b; do [ "$a" != "$1" ] || echo "$b"; done; }}
wg set {interface} private-key {key}.next
while :; do
{pings}
  wait
  all=1 some={"" if peers else "none"}
  for peer in {" ".join(map(shlex.quote, peers))}; do
    if fresh "$peer" "$(was "$peer")" "$second"; then some=1; else all=0; fi
  done
  [ $(($(clock) - began)) -lt {PATIENCE} ] || all=1
  [ $all = 1 ] || continue
  [ "$some" ] || break
  sync {key}.next; mv -f {key}.next {key}; done_with rotated; exit
done
wg set {interface} private-key {key}
rm -f {key}.next
done_with 'no handshake with the new key'""",
    )


def learn(interface: str, node: str, old: str, new: str, allowed_ips: Sequence[str]) -> str:
    """The job of a peer: know the new key, and give it the networks once it has a handshake."""
    networks = ",".join(allowed_ips)
    shared = f"{FOLDER}/psk/{interface}/{safe(node)}"
    peers = f"{FOLDER}/{interface}.peers"
    return _job(
        interface,
        f"""old={shlex.quote(old)} new={shlex.quote(new)}
where=$(value endpoints "$old"); case $where in ''|'(none)') where= ;; esac
alive=$(value persistent-keepalive "$old")
began=$(clock)
set -- peer "$new" persistent-keepalive "${{alive:-off}}"
[ -z "$where" ] || set -- "$@" endpoint "$where"
[ ! -s {shared} ] || set -- "$@" preshared-key {shared}
wg set {interface} "$@"
while [ $(($(clock) - began)) -lt {READY} ]; do
  if fresh "$new"; then
    wg set {interface} peer "$new" allowed-ips {networks}
    wg set {interface} peer "$old" remove
    sed "s|^PublicKey = $old\\$|PublicKey = $new|" {peers} > {peers}.new && sync {peers}.new
    mv -f {peers}.new {peers}
    done_with rotated; exit
  fi
  sleep 0.2
done
wg set {interface} peer "$new" remove
done_with 'no handshake with the new key'""",
    )


def result(interface: str) -> str:
    """Prints what came of a job, nothing while it runs."""
    return f"cat {RUN}/rotation-{interface}"


def watch(address: str) -> str:
    """Start to count lost packets to an overlay address, five a second."""
    return (
        f"mkdir -p {RUN}; ping -i 0.2 -W 1 {shlex.quote(address)} > {RUN}/watch 2>&1 </dev/null &"
        f" echo $! > {RUN}/watch.pid"
    )


def counted() -> str:
    """End the count; prints ping's summary."""
    return (
        f"kill -INT $(cat {RUN}/watch.pid); sleep 0.5; grep -E 'transmitted|^rtt' {RUN}/watch;"
        f" rm -f {RUN}/watch {RUN}/watch.pid"
    )


def lost(summary: str) -> tuple[int, int, float]:
    """(sent, lost, longest wait in seconds) from ping's summary; ValueError when it is none."""
    words = summary.replace("/", " ").split()
    if "transmitted," not in words or "received," not in words:
        raise ValueError(f"no summary of ping: {summary[:80]!r}")
    sent = int(words[0])
    # WireGuard keeps packets back while a handshake is on its way
    waited = float(words[words.index("=") + 3]) / 1000 if "=" in words else 0.0
    return sent, sent - int(words[words.index("received,") - 1]), waited


def _job(interface: str, body: str) -> str:
    """A script that goes on when its connection is cut, and keeps the helper away meanwhile."""
    state = f"{RUN}/rotation-{interface}"
    text = f"""umask 077
exec 9>{RUN}/lock
flock 9
value() {{ wg show {interface} "$1" | while read -r a b; do [ "$a" != "$2" ] || echo "$b"; done; }}
clock() {{ read -r up rest < /proc/uptime; echo "${{up%.*}}"; }}
# public key, time of its handshake before, second in which that was asked: it may be of both keys
fresh() {{
  at=$(value latest-handshakes "$1")
  case $at in '' | 0) return 1 ;; "${{2:-}}") [ "$at" = "${{3:-}}" ] ;; esac
}}
done_with() {{ echo "$1" > {state}.new; mv -f {state}.new {state}; }}
{body}"""
    return (
        f"mkdir -p -m 0700 {RUN}; rm -f {state};"
        f" setsid sh -c {shlex.quote(text)} >/dev/null 2>&1 </dev/null & echo started"
    )
