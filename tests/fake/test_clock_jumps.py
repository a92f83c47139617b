"""The clock of this computer is set a day forward or back in the middle of a run.

The rule: the run ends as one without it, with as many seconds of waiting, and the next does
nothing. Only dates that are written down differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.test_cni_power_cut import of_flannel
from tests.fake.timed import KINDS, Scene, timed
from tests.fake.world import Clock

from underlay.cluster import lease
from underlay.features import cni_change
from underlay.features.flannel import deploy as flannel
from underlay.features.preflight.backup import read_backup
from underlay.operations import cluster_objects

DAY = 86400.0
#: The part of a run's calls between two at which the clock jumps: few of them, or more.
SAMPLE = pytest.mark.parametrize("share", [0.4, pytest.param(0.03, marks=pytest.mark.slow)])
JUMPS = pytest.mark.parametrize("by", [DAY, -DAY], ids=["forward", "back"])
Make = Callable[[], Scene]


@pytest.fixture(params=KINDS)
def make(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """The same cluster again and again, each in a folder of its own."""
    count = iter(range(10**6))
    return lambda: timed(monkeypatch, request.param, tmp_path / str(next(count)))


@SAMPLE
@JUMPS
def test_a_clock_that_jumps_changes_nothing_of_a_run(make: Make, by: float, share: float) -> None:
    whole = make()
    began = whole.clock.now
    assert whole.begin().failed == set()
    wanted, waited = whole.state(), whole.clock.now - began
    assert waited > 0, "nothing is waited for"
    out_of_order = False
    step = max(1, int(len(whole.calls) * share))
    for at in range(step, len(whole.calls), step):
        scene = make()
        began = scene.clock.now
        where = f"call {at}, {whole.calls[at]}"
        assert scene.begin(at, by).failed == set(), where
        assert abs(scene.clock.ahead) == DAY, f"no jump at {where}"
        assert scene.state() == wanted, where
        assert scene.clock.now - began == waited, f"another wait, {where}"
        dates = scene.dates()
        out_of_order = out_of_order or dates != sorted(dates)
        again = scene.begin()
        assert (again.failed, again.operations) == (set(), 0), where
    assert out_of_order is (by < 0 and bool(whole.dates())), "dates of the journal"


@JUMPS
def test_a_clock_that_jumps_between_two_runs_takes_no_backup_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: float
) -> None:
    folder = tmp_path / "flannel"
    folder.mkdir()
    world, install = of_flannel(folder)
    clock = Clock()
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    monkeypatch.setattr(flannel, "api_of", lambda state, settings: world.cluster)
    for module in (cluster_objects, lease):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(cni_change, "datetime", clock.calendar())
    monkeypatch.chdir(folder)
    # twice to and fro, so that dates come back
    for number, mtu in enumerate((1500, 1400, 1300, 1200)):
        clock.now, clock.ahead = 0.0, by * (number % 2)
        assert install(mtu).failed == set()
    found = {path.name: read_backup(str(path)) for path in folder.glob("network-backup-flannel-*")}
    assert len(found) == 4
    for name, backup in found.items():
        assert backup.taken is not None
        assert not backup.problems
        assert f"{backup.taken:%Y%m%dT%H%M%SZ}" in name
    sizes = {
        json.loads(part["data"]["net-conf.json"])["Backend"]["MTU"]
        for path in folder.glob("network-backup-flannel-*/objects.json")
        for part in json.loads(path.read_text())["items"]
        if part["kind"] == "ConfigMap"
    }
    assert sizes == {1500, 1400, 1300}, "what each run had found"
