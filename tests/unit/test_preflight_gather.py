"""The steps of a pre-flight on hosts that are slow, or while this computer's clock is set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gevent
import pytest
from tests.fake.world import Clock
from tests.unit.preflight_scene import NAMES, PAIRS, healthy

from underlay.checks.model import Status
from underlay.features.preflight import addresses, assemble, gather
from underlay.features.preflight.assemble import Heard
from underlay.features.preflight.checks import CHECKS
from underlay.features.preflight.plan import Plan
from underlay.features.preflight.scene import Scene

DAY = 86400.0


@dataclass(frozen=True)
class Node:
    """As a run of pyinfra knows a host."""

    name: str


def kind_of(text: str) -> str:
    """Which step a command belongs to."""
    if "> stop" in text:
        return "collect"
    return "probe" if "go.new" in text else "start"


def look(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, answer: Callable[[str, str], None]
) -> Scene:
    """Three healthy nodes whose agents say nothing. answer: called with step and host."""
    said = {
        "collect": [json.dumps({"arrivals": []}), "gone"],
        "probe": [json.dumps({"results": []})],
    }

    def output(each: Node, text: str, seconds: float, stdin: str | None = None) -> list[str]:
        step = kind_of(text)
        answer(step, each.name)
        begun = {
            # the clock of a node is set by nobody
            "folder": "/run/x", "pid": 1, "clock": 1.8e9 + clock.now, "synchronised": True,
            "tool": "python3 3.11", "uid": 0, "listeners": [],
        }  # fmt: skip
        return said.get(step) or [json.dumps(begun)]

    monkeypatch.setattr(gather, "command_output", output)
    monkeypatch.setattr(gather, "time", clock)
    scene = healthy()
    heard = {name: Heard(facts=host.facts) for name, host in scene.hosts.items()}
    targets = {}
    for name, host in scene.hosts.items():
        assert host.facts is not None
        target = addresses.target_of(host, host.facts)
        assert target is not None
        targets[name] = target
    reached: list[Any] = [Node(name) for name in NAMES]
    gather._Run(reached, heard, lambda *_: None).probe(
        Plan(targets, (), PAIRS, {}, None), scene.hosts
    )
    done = {name: assemble.finished(host, heard[name]) for name, host in scene.hosts.items()}
    return replace(scene, hosts=done)


def skew(scene: Scene) -> list[tuple[Status, str]]:
    """What the check of the clocks says."""
    (check,) = [check for check in CHECKS if check.id == "time/skew"]
    return [(found.status, found.message) for found in check.evaluate(scene)]


@pytest.mark.parametrize("by", [DAY, -DAY], ids=["forward", "back"])
@pytest.mark.parametrize("at", [("start", "n1"), ("probe", "n1"), ("collect", "n1")], ids="-".join)
def test_a_clock_of_this_computer_that_jumps_is_no_finding_about_a_node(
    monkeypatch: pytest.MonkeyPatch, at: tuple[str, str], by: float
) -> None:
    clock = Clock()

    def answer(step: str, host: str) -> None:
        if (step, host) == at:
            clock.ahead += by

    scene = look(monkeypatch, clock, answer)
    assert clock.ahead == by
    assert skew(scene) == []
    assert not [host.name for host in scene if host.lost]
    for host in scene:
        assert host.clock is not None
        assert 0 <= host.clock.error < 1


def test_hosts_are_asked_at_the_same_time_and_a_slow_one_is_no_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answer took two seconds, and when in them it looked at its clock nobody knows."""
    clock, order = Clock(), []

    def answer(step: str, host: str) -> None:
        order.append((step, host))
        if host == NAMES[0]:
            gevent.sleep(0.05)
            if step == "start":
                clock.now += 2
        order.append((f"{step} ended", host))

    scene = look(monkeypatch, clock, answer)
    for step in ("start", "probe", "collect"):
        slow = order.index((f"{step} ended", NAMES[0]))
        assert all(order.index((f"{step} ended", name)) < slow for name in NAMES[1:]), step
    assert not [host.name for host in scene if host.lost]
    slow_clock = scene.hosts[NAMES[0]].clock
    assert slow_clock is not None
    assert slow_clock.error == 1.0
    assert skew(scene) == []
