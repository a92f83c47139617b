"""Nodes without python3: the shell agent with socat or nc, beside a node that has python3.

n0 (control plane, python3)   n1   n2 (a shell and socat, or a shell and nc)
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.netns.fleet import SETTINGS, Fleet, findings, fleet
from tests.netns.test_preflight import DROPPED, RESOLVER, VXLAN, no_listener, rule, until

pytestmark = pytest.mark.netns

PING = ("unknown", "reach/icmp", "ICMP echo from n1, n2: neither python3 nor ping is on it")
PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def _without(*programs: str) -> dict[str, str]:
    """Every place of these programs, as files that cannot be run."""
    names = [f"{place}/{name}" for place in PLACES for name in programs]
    return {path: "" for path in names if Path(path).exists()}


@pytest.fixture(scope="module")
def with_socat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    hidden = _without("python3", "ping")
    with fleet(tmp_path_factory.mktemp("socat"), files={1: hidden, 2: hidden}) as found:
        yield found


@pytest.fixture
def three(with_socat: Fleet) -> Iterator[Fleet]:
    """The shared hosts, without rules of an earlier scenario."""
    with_socat.settings(**SETTINGS)
    yield with_socat
    for number in range(3):
        with_socat.hosts.on(number, "nft", "flush", "ruleset")


def test_healthy_hosts_are_told_apart_only_by_their_tool(three: Fleet) -> None:
    _, report = three.report()
    assert findings(report) == [PING]
    passed = {c["id"]: c["findings"] for c in report["checks"] if c["status"] == "pass"}
    assert passed["reach/ports"][0]["message"] == "18 probes over 6 pairs"
    assert passed["mtu/path"][0]["message"] == "6 directions carry 1500"
    tools = [host["tool"].rpartition(" ")[0] for host in report["hosts"]]
    assert tools == ["python3", "sh, socat", "sh, socat"]
    assert all(no_listener(three, number) for number in range(3))


def test_verdicts_are_as_exact_as_with_python(three: Fleet) -> None:
    rule(three, 1, "input", "ip saddr 198.18.0.12 udp dport 8472 drop",
         "tcp dport 10250 reject with icmpx admin-prohibited",
         "ip saddr 198.18.0.12 tcp dport 30000 reject with tcp reset")  # fmt: skip
    rule(three, 2, "output", "ip daddr 198.18.0.11 udp sport 8472 drop")
    code, report = three.report()
    assert code == 3
    assert sorted(findings(report)) == sorted([
        PING,
        ("fail", "reach/ports",
         "10250/tcp (kubelet) from n0 to n1: a firewall answers that it is prohibited"),
        ("fail", "reach/ports", f"{VXLAN} from n1 to n2: it arrived, but the reply was lost on the"
         " way back"),
        ("fail", "reach/ports", f"{VXLAN} from n2 to n1: {DROPPED}"),
        ("fail", "reach/ports", "30000/tcp (NodePort sample) from n2 to n1: refused on the way"
         " although it listens there: a firewall rejects it"),
    ])  # fmt: skip


def test_a_narrow_path_is_measured_from_both_kinds_of_node(three: Fleet) -> None:
    for number in range(3):
        rule(three, number, "input", "ip saddr != 198.18.0.1 meta length > 1400 drop")
    _, report = three.report()
    text = "path MTU 1400 between all nodes that use it (6 pairs), but 1500 is expected"
    assert findings(report) == [PING, ("fail", "mtu/path", text)]


def test_a_resolver_that_answers_only_over_udp(three: Fleet) -> None:
    wanted = {**SETTINGS["preflight"], "dns": {"outside": ["registry.example"]}}
    three.settings(**{**SETTINGS, "preflight": wanted})
    with three.hosts.running(RESOLVER):
        _, report = three.report()
    text = "over TCP 198.18.0.1: nothing listens for registry.example from n0, n1, n2"
    assert findings(report) == [PING, ("fail", "dns/tcp", f"{text}, while UDP answers")]


def test_what_a_shell_cannot_send_is_unknown(three: Fleet) -> None:
    network = {**SETTINGS["network"], "encapsulation": "ipip"}
    three.settings(**{**SETTINGS, "network": network})
    _, report = three.report()
    ipip = "IPIP (protocol 4) at"
    found = [row for row in findings(report) if row[1] == "reach/ports"]
    assert found == [
        ("unknown", "reach/ports", f"{ipip} n1, n2: cannot listen: it needs python3 (4 pairs)"),
        ("unknown", "reach/ports", f"{ipip} n0: it cannot be sent without python3 (2 pairs)"),
    ]


def test_a_clock_that_is_forty_seconds_off(three: Fleet) -> None:
    with three.hosts.program(1, "date", "exec /usr/bin/date -d '+40 seconds' \"$@\""):
        _, report = three.report()
    found = [row for row in findings(report) if row != PING]
    assert [row[:2] for row in found] == [("fail", "time/skew")]
    told = re.fullmatch(r"n1: its clock is (\S+) s ahead of the others \(±\S+ s\)", found[0][2])
    assert told is not None, found
    assert 35 < float(told.group(1)) < 45


def test_a_killed_controller_leaves_no_listener(three: Fleet) -> None:
    running = three.start()
    root = Path(f"/proc/{three.hosts.daemons[1].pid}/root/run")
    until(lambda: bool(list(root.glob("underlay-preflight.*/lease"))))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert not no_listener(three, 1), "the agent was there when the controller was killed"
    began = time.monotonic()
    until(lambda: all(no_listener(three, number) for number in range(3)), 30)
    assert time.monotonic() - began < 30
    until(lambda: not list(root.glob("underlay-preflight.*")), 5)


@pytest.mark.parametrize(
    ("program", "kind"), [("nc.openbsd", "OpenBSD"), ("ncat", "Ncat")], ids=["OpenBSD", "Ncat"]
)
def test_nodes_with_nc_only_connect_and_say_what_they_cannot(
    tmp_path: Path, program: str, kind: str
) -> None:
    hidden = _without("python3", "socat", "ping")
    here = shutil.copy(shutil.which(program) or "", tmp_path / program)
    hidden[shutil.which("nc") or ""] = f'#!/bin/sh\nexec {here} "$@"\n'
    with fleet(tmp_path, files={1: hidden, 2: hidden}) as found:
        _, report = found.report()
    assert [host["tool"] for host in report["hosts"]][1:] == [f"sh, nc ({kind})"] * 2
    unsent = ("unknown", "reach/ports", f"{VXLAN} at n0: it cannot be sent with Ncat; it needs"
              " python3 or socat (2 pairs)")  # fmt: skip
    assert findings(report) == [
        PING,
        ("unknown", "reach/ports", f"{VXLAN} at n1, n2: cannot listen: nc serves one peer only; it"
         " needs python3 or socat (4 pairs)"),
        *([unsent] if kind == "Ncat" else []),
        ("unknown", "mtu/path", "path MTU from n1, n2: it needs python3, socat and an overlay port,"
         " or the ping of iputils (4 pairs)"),
    ]  # fmt: skip
