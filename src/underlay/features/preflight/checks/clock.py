"""Checks of time: a daemon disciplines each clock, and all clocks agree."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median_low

from underlay.checks.model import Check, Finding, Severity, Status
from underlay.features.preflight.scene import Scene
from underlay.features.preflight.words import listed

DAEMONS = ("chronyd", "systemd-timesyn", "ntpd", "ntpsec", "openntpd", "ptp4l", "phc2sys")


def _synchronised(scene: Scene) -> Iterator[Finding]:
    silent, loose = [], []
    for host in scene:
        if host.clock is None:
            continue
        if host.clock.synchronised is None:
            silent.append(host.name)
        elif not host.clock.synchronised:
            loose.append(host.name)
    if silent:
        text = f"{listed(silent)}: the kernel does not say whether its clock is disciplined"
        yield Finding(Status.UNKNOWN, text, tuple(silent))
    without = [n for n in loose if not _daemons(scene, n)]
    waiting = [n for n in loose if n not in without]
    if without:
        text = f"{listed(without)}: no time daemon runs and the clock is not disciplined"
        yield Finding(Status.FAIL, text, tuple(without))
    if waiting:
        text = f"{listed(waiting)}: a time daemon runs, but the clock is not synchronised"
        yield Finding(Status.FAIL, text, tuple(waiting))


def _daemons(scene: Scene, name: str) -> list[str]:
    facts = scene.hosts[name].facts
    return [daemon for daemon in DAEMONS if facts is not None and daemon in facts.programs]


def _clocks_apply(scene: Scene) -> str:
    return "" if any(host.clock for host in scene) else "no clock was read"


def _skew(scene: Scene) -> Iterator[Finding]:
    clocks = {host.name: host.clock for host in scene if host.clock is not None}
    limit = next(iter(scene)).preflight.skew_seconds
    middle = median_low([clock.offset for clock in clocks.values()])
    reference = min(clocks.values(), key=lambda clock: abs(clock.offset - middle))
    furthest = 0.0
    for name, clock in clocks.items():
        apart = clock.offset - reference.offset
        error = clock.error + reference.error if clock is not reference else 0.0
        furthest = max(furthest, abs(apart))
        if abs(apart) - error > limit:
            side = "ahead of" if apart > 0 else "behind"
            text = f"{name}: its clock is {abs(apart):.1f} s {side} the others (±{error:.1f} s)"
            yield Finding(Status.FAIL, text, (name,))
        elif abs(apart) + error > limit:
            text = f"{name}: its clock was read only to ±{error:.1f} s, the limit is {limit:g} s"
            yield Finding(Status.UNKNOWN, text, (name,))


def _skew_applies(scene: Scene) -> str:
    count = sum(host.clock is not None for host in scene)
    return "" if count > 1 else "fewer than two clocks were read"


CHECKS = (
    Check(
        "time/synchronised", "A daemon keeps each clock right", Severity.ERROR,
        "Clocks that agree today drift apart; certificates and leases then fail at random.",
        "install chrony (or enable systemd-timesyncd) and let it reach its servers",
        _synchronised, _clocks_apply,
    ),
    Check(
        "time/skew", "The clocks of all nodes agree", Severity.STRICT,
        "etcd, leader election and certificates compare the times of different nodes.",
        "step the clock: chronyc makestep, or systemctl restart systemd-timesyncd", _skew,
        _skew_applies,
    ),
)  # fmt: skip
