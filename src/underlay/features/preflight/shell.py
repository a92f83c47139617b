"""The agent of nodes without python3: settings and plan in front of a shell program. Pure.

The rule: everything that comes from an inventory or a node is quoted, and what is no address and no
DNS name never reaches the shell's tools.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

#: Seconds for all probes of one node: the agents of the others end when nobody renews their lease.
BUDGET = 18
#: One of these must be there besides the shell.
TOOLS = ("socat", "nc")
END = "END_OF_PLAN"


def program(told: Mapping[str, Any]) -> str:
    """The text for `sh -s`. told: what a message of agent.py holds."""
    settings = {
        "RUN": told["run"], "ME": told["me"], "ADDRESS": told["address"],
        "SECOND": told["own_second"], "WAIT": told["wait"],
        "HALF": told["wait"] / 2, "LEASE": told["lease"], "DEADLINE": told["deadline"],
        "BUDGET": BUDGET,
    }  # fmt: skip
    lines = [f"{name}={shlex.quote(str(value))}" for name, value in settings.items()]
    hears = told["hears"]
    listens = [f"{p}:{port}@{hears.get(f'{p}/{port}', '')}" for p, port in told["listen"]]
    for name, found in (("listens", listens), ("probes", list(_probes(told)))):
        lines += [f"{name}() {{ cat << '{END}'", *found, END, "}"]
    text = (Path(__file__).parent / "files/agent.sh").read_text()
    return "\n".join([*lines, text])


def _probes(told: Mapping[str, Any]) -> Iterator[str]:
    """One line per probe: kind, five fields, and the start of its row as JSON."""
    addresses = [address for _, address, _ in told["peers"]]
    second = told["second"]
    for protocol, peer in told["icmp"]:
        six = protocol == "icmp6"
        source = told["own_second"] if six else told["address"]
        target = second[peer] if six else addresses[peer]
        yield _line("icmp", (target, source), ["flow", protocol, peer, 0, 0])
    for protocol, port, peer, size in told["flows"]:
        place = told["places"].get(f"{protocol}/{port}/{peer}")
        kind, where = "flow", addresses[peer]
        if place is not None:
            kind, where = "elsewhere", " ".join(map(str, place))
        fields = (peer, where, protocol, port, size)
        yield _line(kind, fields, ["flow", protocol, peer, port, size])
    for peer, protocol, port, low, high in told["mtu"]:
        key = ["mtu", protocol, peer, port, [low, high]]
        address = second[peer] if protocol == "icmp6" else addresses[peer]
        yield _line("mtu", (peer, address, port, low, high), key)
    for way, server, name in told["dns"]:
        key = ["dns", way, server, name, 0]
        query = _query(name, told["run"])
        if not _is_address(server):
            yield _line("cannot", ("the resolver is not an address",), key)
        elif not query:
            yield _line("cannot", ("this is not a DNS name",), key)
        else:
            yield _line("dns", (way, server, query), key)


def _line(kind: str, fields: Iterable[Any], key: list[Any]) -> str:
    five = [*map(str, fields), "", "", "", "", ""][:5]
    return "|".join([kind, *five, json.dumps(key, separators=(",", ":"))[1:-1]])


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _query(name: str, run: str) -> str:
    """A question for an A record as hex digits, "" when the name is none."""
    words = name.rstrip(".").split(".")
    if not name.isascii() or not all(0 < len(word) < 64 for word in words) or len(name) > 253:
        return ""
    labels = "".join(f"{len(word):02x}{word.encode().hex()}" for word in words)
    return f"{run[:4]}01000001000000000000{labels}0000010001"
