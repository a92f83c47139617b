"""Calico's BIRD on one node: its BGP sessions and its routes, read from its control socket."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay.facts.script import ScriptFact

#: calico-node mounts this folder of the node; the IPv6 daemon is there where IPv6 is.
SOCKETS = "/var/run/calico"
ESTABLISHED = "Established"

_ASKED = "show protocols all", "show route primary"
#: The socket speaks lines of text. The programs that know it are in calico-node's image, and not
#: always on the node; python3 is the last of the four ways.
_ASK = r"""
ask() {
  id=$(crictl ps -q --state Running --name '^calico-node$' 2>/dev/null | head -n 1)
  if [ -n "$id" ]; then crictl exec "$id" birdcl -s "$1" $2 && return; fi
  id=$(docker ps -q --filter name=k8s_calico-node_ 2>/dev/null | head -n 1)
  if [ -n "$id" ]; then docker exec "$id" birdcl -s "$1" $2 && return; fi
  if command -v birdcl >/dev/null; then birdcl -s "$1" $2 && return; fi
  python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])
f = s.makefile("rw")
def answer():
    for line in f:
        if line[:4].isdigit() and line[4:5] in " -": text, end = line[5:], line[4] == " "
        else: text, end = line[1:], False
        yield text
        if end: return
sys.stdout.writelines(answer()); f.write(sys.argv[2] + "\n"); f.flush()
sys.stdout.writelines(answer())' "$1" "$2"
}
"""


@dataclass(frozen=True)
class Reading:
    """One node's BGP.

    sessions: address of the peer to the state of the session, for example `Established`; learned:
    destinations in use that came by BGP; own: those that the node announces as its blocks.
    """

    sessions: Mapping[str, str]
    learned: frozenset[str]
    own: frozenset[str]


class Bird(ScriptFact[Reading | None]):
    """What BIRD says on this node; None when there is none, or it does not answer."""

    @override
    def command(self) -> StringCommand:
        def both(asked: str) -> str:
            # the first line of each answer says who speaks: without it, nobody did
            return (
                f"{_ASK}\nfor s in bird bird6; do [ -S {SOCKETS}/$s.ctl ] &&"
                f" {{ ask {SOCKETS}/$s.ctl '{asked}' || echo FAILED; }}; done"
            )

        return self.run({"protocols": both(_ASKED[0]), "routes": both(_ASKED[1])})

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> Reading | None:
        protocols, routes = readings["protocols"], readings["routes"]
        answered = all(
            lines and "FAILED" not in lines and any(_GREETING.match(line) for line in lines)
            for lines in (protocols, routes)
        )
        if not answered:
            return None
        names = dict(_sessions(protocols))
        found = list(_routes(routes))
        bgp = set(names)
        return Reading(
            sessions=dict(names.values()),
            learned=frozenset(net for net, source, usable in found if usable and source in bgp),
            own=frozenset(net for net, source, _ in found if source.startswith("static")),
        )


_GREETING = re.compile(r"BIRD \S+ ready\.")
_PROTOCOL = re.compile(r"(\S+)\s+BGP\s")
_ROUTE = re.compile(r"([0-9a-fA-F.:]+/\d+)\s+(.*?)\[(\S+)")


def _sessions(lines: list[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Protocol to (address of the peer, state), from `show protocols all`."""
    name, state = "", ""
    for line in lines:
        if line[:1].strip():
            found = _PROTOCOL.match(line)
            # the state of the protocol before is none of this one's
            name, state = found.group(1) if found else "", ""
        elif name and "BGP state:" in line:
            state = line.partition(":")[2].strip()
        elif name and "Neighbor address:" in line:
            address = line.partition(":")[2].strip().partition("%")[0]
            yield name, (address, state or "unknown")


def _routes(lines: list[str]) -> Iterator[tuple[str, str, bool]]:
    """(destination, protocol, whether packets can go there), from `show route primary`."""
    for line in lines:
        found = _ROUTE.match(line)
        if found:
            yield found.group(1), found.group(3), "unreachable" not in found.group(2)
