"""What may happen to a migration from outside while a node is being switched.

    cp1   w1   w2        w1 alone is migrated, and in the middle of it something is taken away

Each ends in one of two states, never between them: migrated, or as before; and a run after it
converges.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.lab.machines import ROOT, Machines
from tests.lab.test_2_proxy_mode import LEFT, MODE, config, settings

from underlay.cluster import Api
from underlay.cluster.access import from_kubeconfig
from underlay.cluster.objects import DAEMON_SET

pytestmark = pytest.mark.lab

SWITCH = "w1: restart kube-proxy in mode ipvs"
STEPS = ("w1: record what is there", SWITCH, "w1: prove mode ipvs by probes", "w1: commit",
         "End the run with what happened")  # fmt: skip


@pytest.fixture(scope="module")
def api(machines: Machines) -> Api:
    """The API server of the lab."""
    return from_kubeconfig(machines.lab.kubeconfig)


class Running:
    """A migration of w1 that runs beside the test."""

    def __init__(self, machines: Machines, **changes: object) -> None:
        words = machines.command("--limit", "w1", *settings(**changes), "deploys/ipvs_migrate.py")
        self.process = subprocess.Popen(
            words, cwd=ROOT, env=machines.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def until(self, words: str) -> None:
        """Wait until a line holds these words."""
        deadline = time.monotonic() + 300
        while not any(words in line for line in self.lines):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(900)
        self._reader.join(30)
        return code

    @property
    def text(self) -> str:
        """Everything it has printed."""
        return "".join(self.lines)


def as_before(machines: Machines, api: Api, before: str) -> None:
    """w1 is in the old mode, with nothing of the other one, and so is the ConfigMap."""
    assert machines.on("w1", MODE) == "iptables"
    assert machines.on("w1", LEFT) == "0 0 0 0"
    assert config(api) == before


def back(machines: Machines) -> None:
    """Roll w1 back by hand."""
    done = machines.pyinfra("--limit", "w1", *settings(), "deploys/ipvs_rollback.py")
    assert done.returncode == 0, done.stdout + done.stderr


def migrated_and_back(machines: Machines, api: Api, before: str) -> None:
    """A run now converges, and the way back leads to where it all began."""
    done = machines.pyinfra("--limit", "w1", *settings(), "deploys/ipvs_migrate.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machines.on("w1", MODE) == "ipvs"
    back(machines)
    as_before(machines, api, before)


@contextmanager
def api_silent(machines: Machines) -> Iterator[None]:
    """The API server answers nobody, as on a control plane that hangs."""
    process = machines.lab.process("kube-apiserver")
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


@pytest.mark.slow
def test_an_api_server_that_is_silent_for_a_while_is_waited_for(
    machines: Machines, api: Api
) -> None:
    before = config(api)
    run = Running(machines)
    run.until(SWITCH)
    with api_silent(machines):
        time.sleep(45)
    assert run.end() == 0, run.text
    assert machines.on("w1", MODE) == "ipvs"
    back(machines)
    as_before(machines, api, before)


@pytest.mark.slow
def test_a_link_that_is_cut_for_a_minute_in_the_middle_of_a_switch(
    machines: Machines, api: Api
) -> None:
    before = config(api)
    run = Running(machines)
    run.until(SWITCH)
    machines.underlay("lab", "machine", "cut", "w1", "--name", machines.lab.name)
    time.sleep(60)
    machines.underlay("lab", "machine", "join", "w1", "--name", machines.lab.name)
    code = run.end()
    done = machines.underlay("lab", "wait", "--name", machines.lab.name)
    assert done.returncode == 0, done.stderr
    if code == 0:
        assert machines.on("w1", MODE) == "ipvs"
    else:
        assert code == 1
        assert "w1: " in run.text
    migrated_and_back(machines, api, before)


@pytest.mark.slow
def test_a_node_that_loses_its_power_in_the_middle_of_a_switch(
    machines: Machines, api: Api
) -> None:
    before = config(api)
    run = Running(machines, wait_seconds=60)
    run.until(SWITCH)
    machines.underlay("lab", "machine", "poweroff", "--hard", "w1", "--name", machines.lab.name)
    assert run.end() == 1, run.text
    machines.underlay("lab", "machine", "start", "w1", "--name", machines.lab.name)
    done = machines.underlay("lab", "wait", "--name", machines.lab.name)
    assert done.returncode == 0, done.stderr
    migrated_and_back(machines, api, before)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_controller_killed_at_each_step(machines: Machines, api: Api, step: str) -> None:
    before = config(api)
    run = Running(machines)
    run.until(step)
    run.process.kill()
    run.end()
    migrated_and_back(machines, api, before)


def test_an_image_that_the_restart_would_change_is_refused(machines: Machines, api: Api) -> None:
    """A broken kube-proxy image that was rolled out halfway, the way kubeadm upgrades do it."""
    before = config(api)
    found = api.get(DAEMON_SET, "kube-proxy", "kube-system")
    image = found["spec"]["template"]["spec"]["containers"][0]["image"]
    strategy = found["spec"]["updateStrategy"]
    hold = {"type": "OnDelete", "rollingUpdate": None}
    _set(api, hold, "broken.invalid/kube-proxy:0")
    try:
        done = machines.pyinfra("--limit", "w1", *settings(), "deploys/ipvs_migrate.py")
        text = done.stdout + done.stderr
        assert done.returncode == 1, text
        assert f"w1: its kube-proxy runs image {image} while DaemonSet kube-proxy names" in text
    finally:
        _set(api, hold, image)
        _set(api, strategy, image)
    as_before(machines, api, before)


def _set(api: Api, strategy: object, image: str) -> None:
    containers = [{"name": "kube-proxy", "image": image}]
    change = {
        "spec": {
            "updateStrategy": strategy,
            "template": {"spec": {"containers": containers}},
        }
    }
    path = DAEMON_SET.path("kube-proxy", "kube-system")
    status, text = api.request(
        "PATCH", path, body=change, content_type="application/strategic-merge-patch+json"
    )
    assert status == 200, text
