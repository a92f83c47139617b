"""The agent of nodes without python3: its text is safe, it answers, it leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from underlay.features.preflight import agent, shell

HOSTILE = "a|$(touch owned)`id`'\"\n" + shell.END + "\n"


def _told(**changes: Any) -> dict[str, Any]:
    return {
        "run": "0011223344556677", "me": 0, "address": "127.0.0.1", "wait": 0.5, "lease": 27,
        "deadline": 170, "peers": [["a", "127.0.0.1", 1500], ["b", "127.0.0.2", 1500]],
        "listen": [], "flows": [], "icmp": [], "mtu": [], "dns": [], "second": {}, "own_second": "",
        "places": {}, "hears": {},
        **changes,
    }  # fmt: skip


def _lines(told: dict[str, Any]) -> list[str]:
    text = shell.program(told)
    start = text.index("probes()")
    return text[start : text.index(f"\n{shell.END}\n}}", start)].splitlines()[1:]


def test_a_probe_is_one_line_with_the_start_of_its_row() -> None:
    told = _told(flows=[["udp", 8472, 1, 64]], icmp=[["icmp", 1]],
                 mtu=[[1, "udp", 8472, 576, 1500]],
                 dns=[["tcp", "192.0.2.53", "a.example."]])  # fmt: skip
    assert _lines(told) == [
        'icmp|127.0.0.2|127.0.0.1||||"flow","icmp",1,0,0',
        'flow|1|127.0.0.2|udp|8472|64|"flow","udp",1,8472,64',
        'mtu|1|127.0.0.2|8472|576|1500|"mtu","udp",1,8472,[576,1500]',
        "dns|tcp|192.0.2.53|001101000001000000000000016107657861"
        '6d706c650000010001|||"dns","tcp","192.0.2.53","a.example.",0',
    ]


@pytest.mark.parametrize(
    ("server", "name", "why"),
    [
        (HOSTILE, "a.example", "the resolver is not an address"),
        ("192.0.2.53", "é.example", "this is not a DNS name"),
        ("192.0.2.53", "a" * 64, "this is not a DNS name"),
        ("192.0.2.53", "a..b", "this is not a DNS name"),
    ],
)
def test_what_is_no_address_and_no_name_is_unknown(server: str, name: str, why: str) -> None:
    (line,) = _lines(_told(dns=[["udp", server, name]]))
    assert line.startswith(f"cannot|{why}|||||")
    assert json.loads("[" + line.split("|", 6)[6] + "]") == ["dns", "udp", server, name, 0]


def test_python_is_taken_where_it_is_there() -> None:
    told = _told()
    assert agent.start(told, ["python3", "socat"])[0].startswith("python3 -IS - ")
    assert agent.start(told, ["socat"])[0] == "sh -s"
    assert agent.can_run(["nc"])
    assert not agent.can_run(["ping"])


def test_arrivals_of_one_source_are_one_however_they_are_written() -> None:
    rows = [["udp", 53, 1, "192.0.2.1", 1, 64], ["udp", 53, 1, "192.0.2.1", 1, 1400],
            ["udp", 53, 2, "[2001:0db8:0000:0000:0000:0000:0000:0001]", 1, 64]]  # fmt: skip
    found, gone = agent.arrivals([json.dumps({"arrivals": rows, "notes": []}), "gone"])
    assert [(a.source, a.address, a.count, a.largest) for a in found] == [
        (1, "192.0.2.1", 2, 1400), (2, "2001:db8::1", 1, 64)
    ]  # fmt: skip
    assert gone


def test_the_program_runs_answers_and_is_gone(tmp_path: Path) -> None:
    """Without any tool: it says so, and a hostile name is a text like any other."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "date", "mkdir", "od", "tr", "cat", "mv", "head", "sed", "grep", "sort",
                 "cmp", "cp", "tail", "wc", "dd", "rm", "sleep", "id", "touch"):  # fmt: skip
        for place in ("/usr/bin", "/bin"):
            if Path(place, name).exists():
                (tools / name).symlink_to(Path(place, name))
                break
    told = _told(listen=[("tcp", 34567), ("ipip", 0)], flows=[["tcp", 34567, 1, 64]],
                 dns=[["udp", HOSTILE, HOSTILE]], deadline=20)  # fmt: skip
    path = {**os.environ, "PATH": str(tools)}
    run = subprocess.run(
        [str(tools / "sh"), "-s"], input=shell.program(told), env=path, capture_output=True,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    found = agent.started(run.stdout.splitlines())
    assert found.tool == "sh alone"
    assert found.states == {
        ("tcp", 34567): "cannot listen: it needs python3, socat or a netcat that keeps listening",
        ("ipip", 0): "cannot listen: it needs python3",
    }
    assert abs(found.clock - time.time()) < 60
    done = _shell(agent.probe_command(found.folder, found.pid, [(1, "tcp", 34567)]))
    rows = agent.results(done.stdout.splitlines())
    assert [(r.kind, r.verdict, r.detail) for r in rows] == [
        ("flow", "unknown", "it cannot be sent without python3, socat or nc"),
        ("dns", "unknown", "the resolver is not an address"),
    ]
    assert rows[1].peer == HOSTILE
    assert not Path(found.folder, "owned").exists()
    done = _shell(agent.collect_command(found.folder, found.pid))
    assert agent.arrivals(done.stdout.splitlines())[0] == []
    assert not Path(found.folder).exists()


def _shell(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=60)
