"""The agent on a node: the text that starts it, the commands around it, what it answers. Pure.

The rule: three short commands per node (start, probe, collect) and nothing of them stays; the agent
ends by itself when the controller is gone.
"""

from __future__ import annotations

import ast
import base64
import json
import shlex
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from underlay.features.preflight import shell
from underlay.features.preflight.plan import SMALL, Plan, Target, udp_overhead

#: Seconds without a sign of the controller after which an agent ends, below the promised 30, and
#: its end in any case.
LEASE = 27
DEADLINE = 170
#: The pieces of the program in files/agent, in an order in which each finds above it what it needs.
PIECES = (
    "plan", "wrapping", "listening", "probing", "ports", "echo", "sizes", "names", "loop", "main",
)  # fmt: skip
#: Where the search for the largest packet starts: what every path of a family must carry.
SMALLEST, SMALLEST_V6 = 576, 1280


@dataclass(frozen=True)
class Started:
    """What an agent said when it began to listen.

    clock: the node's time when it started, read to `grain` seconds; states: (protocol, port) ->
    listening, connect-only (nothing is echoed), served or why not.
    """

    folder: str
    pid: int
    clock: float
    synchronised: bool | None
    tool: str
    root: bool
    states: Mapping[tuple[str, int], str]
    grain: float = 0.0


@dataclass(frozen=True)
class Row:
    """One answer of one probe. kind: flow, mtu or dns; extra: size, or the sizes of a search;
    milliseconds: -1 where they were not measured."""

    kind: str
    protocol: str
    peer: int | str
    port: int | str
    extra: Any
    verdict: str
    detail: str
    milliseconds: int


@dataclass(frozen=True)
class Arrival:
    """What one listener got from one source, and the address it came from."""

    protocol: str
    port: int
    source: int
    address: str
    count: int
    largest: int


def source() -> str:
    """The program that is sent to every node: its pieces as one text."""
    folder = Path(__file__).parent / "files/agent"
    return "\n".join(_alone((folder / f"{name}.py").read_text()) for name in PIECES)


def _alone(text: str) -> str:
    """Without the imports of other pieces, which stand above it in the joined text."""
    lines = text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        ours = isinstance(node, ast.ImportFrom) and str(node.module).startswith("underlay.")
        types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if ours or types:
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return "".join(lines)


def message(
    plan: Plan, name: str, *, run: str, wait: float, dns: Iterable[tuple[str, str, str]]
) -> dict[str, Any]:
    """What one agent is told.

    run: 16 hex digits; wait: seconds of one probe; dns: (udp or tcp, server, name).
    """
    names = list(plan.targets)
    number = {each: at for at, each in enumerate(names)}
    own = plan.targets[name]
    flows: list[list[Any]] = []
    carriers: dict[str, int] = {}
    places: dict[str, tuple[str, str, int]] = {}
    for use, peer in plan.flows(name):
        flows.append([use.protocol, use.port, number[peer], SMALL])
        place = plan.place(use, name, peer)
        if place is not None:
            any_own = "::" if ":" in place[0] else "0.0.0.0"  # noqa: S104 - a sender's, of no port
            places[f"{use.protocol}/{use.port}/{number[peer]}"] = (any_own, *place)
        if use.full_size:
            size = _largest(own, plan.targets[peer], beneath=place is not None)
            address = own.address if place is None else place[0]
            flows.append([use.protocol, use.port, number[peer], size - udp_overhead(address)])
        if use.full_size and place is None:
            carriers.setdefault(peer, use.port)
    peers = [target for one, target in plan.pairs if one == name]
    both = [peer for peer in peers if own.second and plan.targets[peer].second]
    sizes = {peer: min(own.mtu, plan.targets[peer].mtu) for peer in peers}
    return {
        "run": run, "me": number[name], "address": own.address, "wait": wait,
        "lease": LEASE, "deadline": DEADLINE, "dns": [list(row) for row in dns],
        "peers": [[t.name, t.address, t.mtu] for t in plan.targets.values()],
        "listen": [list(row) for row in plan.listens(name)], "places": places,
        "hears": {f"{p}/{port}": where for (p, port), where in plan.hears(name).items()},
        "second": {number[peer]: plan.targets[peer].second for peer in both},
        "own_second": own.second, "flows": flows,
        "icmp": [
            *(["icmp", number[peer]] for peer in peers), *(["icmp6", number[peer]] for peer in both)
        ],
        "mtu": [
            *(_search(number[peer], carriers.get(peer, 0), sizes[peer]) for peer in peers),
            *([number[peer], "icmp6", 0, SMALLEST_V6, sizes[peer]] for peer in both),
        ],
    }  # fmt: skip


def _largest(one: Target, other: Target, *, beneath: bool) -> int:
    """What both ends can send, in bytes."""
    if beneath:
        return min(one.beneath_mtu or one.mtu, other.beneath_mtu or other.mtu)
    return min(one.mtu, other.mtu)


def _search(peer: int, port: int, top: int) -> list[Any]:
    return [peer, "udp" if port else "icmp", port, SMALLEST, top]


def can_run(tools: Iterable[str]) -> bool:
    """Whether one of the tools of a node is enough for an agent."""
    return bool({"python3", *shell.TOOLS} & set(tools))


def start(told: Mapping[str, Any], tools: Iterable[str]) -> tuple[str, str]:
    """The command that starts an agent, and the program for its standard input."""
    if "python3" not in tools:
        return "sh -s", shell.program(told)
    argument = base64.b64encode(zlib.compress(json.dumps(told).encode(), 9)).decode()
    return f"python3 -IS - {shlex.quote(argument)}", source()


def probe_command(folder: str, pid: int, served: Sequence[tuple[int, str, int]]) -> str:
    """Let the probes go, hold the lease while they run, print their results.

    The dots fail to be written when the controller is gone, which ends the shell and so the lease.
    """
    go = shlex.quote(json.dumps([list(row) for row in served], separators=(",", ":")))
    return (
        f"cd {shlex.quote(folder)} || exit 9; printf %s {go} > go.new && mv go.new go"
        f" && kill -USR1 {pid};"
        " while [ ! -e results ]; do : > lease || exit 9; echo .; sleep 0.5 2>/dev/null || sleep 1;"
        " done; cat results"
    )


def collect_command(folder: str, pid: int) -> str:
    """Stop the agent, print what arrived, remove its folder, say whether the process is gone."""
    place = shlex.quote(folder)
    alive = f"kill -0 {pid} 2>/dev/null"
    return (
        f"cd {place} && : > stop && kill -USR1 {pid}; i=0; while {alive} && [ $i -lt 20 ]; do"
        " i=$((i+1)); sleep 0.2 2>/dev/null || sleep 1; done;"
        f" cat {place}/arrivals 2>/dev/null; cd /; rm -rf {place}; echo;"
        f" if {alive}; then echo alive; else echo gone; fi"
    )


def started(lines: Iterable[str]) -> Started:
    """From the output of the start; ValueError when it is not the agent's."""
    found = _json_line(lines, "folder")
    return Started(
        str(found["folder"]), int(found["pid"]), float(found["clock"]), found["synchronised"],
        str(found["tool"]), found["uid"] == 0,
        {(str(protocol), int(port)): str(state) for protocol, port, state in found["listeners"]},
        float(found.get("grain", 0)),
    )  # fmt: skip


def results(lines: Iterable[str]) -> list[Row]:
    """From the output of the probes; ValueError when they did not come to their end."""
    return [Row(*row) for row in _json_line(lines, "results")["results"]]


def arrivals(lines: Sequence[str]) -> tuple[list[Arrival], bool]:
    """What arrived, and whether the agent is gone."""
    gone = bool(lines) and lines[-1].strip() == "gone"
    found: dict[tuple[str, int, int, str], Arrival] = {}
    rows = _json_line(lines, "arrivals")["arrivals"]
    for protocol, port, source, address, count, largest in rows:
        # socat writes an IPv6 address in brackets and in full
        key = (protocol, port, source, str(ip_address(address.strip("[]"))))
        before = found.get(key, Arrival(*key, 0, 0))
        size = max(before.largest, largest)
        found[key] = replace(before, count=before.count + count, largest=size)
    return list(found.values()), gone


def _json_line(lines: Iterable[str], key: str) -> dict[str, Any]:
    """The one line that is an object with this key; a login message may be around it."""
    for line in lines:
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and key in found:
                return found
    raise ValueError(f"no {key} in its output")
