"""Clusters on which time is looked at: runs that wait for something, with one clock for all of it.

The rule: every clock that the product reads is the scene's, and so is every date, which can be set
in the middle of a run; a host can be slow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake import test_cni_power_cut as cni
from tests.fake.calico import Calico
from tests.fake.test_route_reflectors import BACK, FORWARD
from tests.fake.world import Clock, Run, World, run, run_on

from underlay.cluster import drain, lease
from underlay.features import cni_change
from underlay.features.calico import deploy as calico
from underlay.features.flannel import deploy as flannel
from underlay.features.kube_proxy import actions
from underlay.features.kube_proxy import deploy as kube_proxy
from underlay.features.route_reflectors import deploy as reflectors
from underlay.features.route_reflectors import proof, status, writes
from underlay.operations import cluster_objects, outcome
from underlay.operations import kube_proxy as restarts

#: Seconds that a command of a slow host takes.
SLOW = 2.0
#: What reads a clock, and what reads a date.
TIMED = (actions, cluster_objects, drain, lease, proof, restarts, status, writes)
DATED = (cni_change, lease, outcome)


@dataclass
class Scene:
    """A cluster and the run that the clock jumps in.

    state: all that a run changes; dates: of its journal, as they were written; at, by: before which
    call the clock is set by how many seconds; calls: those of a run, in order; slow: the host whose
    commands take SLOW seconds each.
    """

    clock: Clock
    run: Callable[[], Run] = lambda: Run(set(), 0)
    state: Callable[[], object] = lambda: None
    dates: Callable[[], list[str]] = list
    at: int | None = None
    by: float = 0.0
    calls: list[str] = field(default_factory=list)
    slow: str = ""

    def called(self, call: str) -> bool:
        """Before every call; none of them fails."""
        if len(self.calls) == self.at:
            self.clock.ahead += self.by
        self.calls.append(call)
        if self.slow and call.endswith(f" {self.slow}"):
            self.clock.sleep(SLOW)
        return False

    def begin(self, at: int | None = None, by: float = 0.0) -> Run:
        """The run, with a jump at one of its calls."""
        self.calls, self.at, self.by = [], at, by
        return self.run()


Patch = pytest.MonkeyPatch


def _proxy(patch: Patch, clock: Clock, *, back: bool) -> Scene:
    world = World(["@fake/n1", "@fake/n2"])
    # no kube-proxy answers at once, so that there is something to wait for
    world.silence = 3
    scene = Scene(clock)
    patch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    patch.setattr(kube_proxy, "api_of", lambda state, settings: world)
    deploys = [kube_proxy.migrate_to_ipvs, kube_proxy.roll_back_from_ipvs]
    if back:
        assert run(world, deploys[0], {}).failed == set()
    world.refuse = scene.called
    scene.run = lambda: run(world, deploys[back], {})
    scene.state = lambda: (world.config, world.annotations, world.holder, world.modes)
    scene.dates = lambda: _dates(world.nodes["@fake/n1"].journal)
    return scene


def _reflectors(patch: Patch, clock: Clock, *, back: bool) -> Scene:
    world = Calico(4)
    # BIRD follows late
    world.lag = 7
    scene = Scene(clock)
    patch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    patch.setattr(reflectors, "api_of", lambda state, settings: world)

    def one(settings: dict[str, Any]) -> Run:
        patient = {**settings, "wait_seconds": 60}
        return run_on(world.names, reflectors.reflect, {"route_reflectors": patient})

    if back:
        assert one(FORWARD).failed == set()
    world.refuse = scene.called
    scene.run = lambda: one(BACK if back else FORWARD)
    scene.state = lambda: (world.objects_of_bgp, ("Lease", "underlay-route-reflectors") in
                           world.objects)  # fmt: skip
    scene.dates = lambda: _dates(world.journal)
    return scene


def _cni(patch: Patch, clock: Clock, folder: Path, kind: str) -> Scene:
    folder.mkdir()
    world, install = cni.KINDS[kind](folder)
    found = cni.Scene(world, install, 1500)
    scene = Scene(clock)
    # pods come up in their own time
    world.cluster.ready = lambda _: clock.now > 3
    spend = world.cluster.spend

    def called(call: str) -> None:
        scene.called(call)
        spend(call)

    patch.setattr(world.cluster, "spend", called)
    patch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: found.answer(self.host.name, text)
    )
    for module in (calico, flannel):
        patch.setattr(module, "api_of", lambda state, settings: world.cluster)
    patch.chdir(folder)
    scene.run = found.run
    scene.state = lambda: (found.state, [key for key in world.cluster.objects if "Lease" in key])
    return scene


def _dates(journal: list[str]) -> list[str]:
    return [json.loads(line)["at"] for line in journal]


KINDS: dict[str, Callable[[Patch, Clock, Path], Scene]] = {
    "proxy_mode": lambda patch, clock, _: _proxy(patch, clock, back=False),
    "proxy_rollback": lambda patch, clock, _: _proxy(patch, clock, back=True),
    "route_reflectors": lambda patch, clock, _: _reflectors(patch, clock, back=False),
    "mesh": lambda patch, clock, _: _reflectors(patch, clock, back=True),
    "flannel": lambda patch, clock, folder: _cni(patch, clock, folder, "flannel"),
    "operator": lambda patch, clock, folder: _cni(patch, clock, folder, "operator"),
    "manifest": lambda patch, clock, folder: _cni(patch, clock, folder, "manifest"),
    "canal": lambda patch, clock, folder: _cni(patch, clock, folder, "canal"),
}


def timed(patch: Patch, kind: str, folder: Path) -> Scene:
    """One of KINDS, in a folder that is not there yet."""
    clock = Clock()
    for module in TIMED:
        patch.setattr(module, "time", clock)
    for module in DATED:
        patch.setattr(module, "datetime", clock.calendar())
    return KINDS[kind](patch, clock, folder)
