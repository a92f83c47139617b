"""What a bad day does to a deploy: a full disk, a read-only /etc, a slow host, a killed controller.

The rule: the host in trouble ends as it was and is named with what to do; the others are changed;
a run after the trouble converges.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.netns.conftest import BIN, Fleet

pytestmark = pytest.mark.netns

TIMEOUT, BACKLOG = "net.ipv4.tcp_fin_timeout", "net.core.somaxconn"
PLACES = ("/etc/sysctl.d", "/var/lib/underlay")


def _mount(fleet: Fleet, number: int, *words: str) -> None:
    """mount(8) in the mount namespace of one host."""
    pid = str(fleet.hosts.daemons[number].pid)
    subprocess.run(["nsenter", "-t", pid, "-m", "mount", *words], check=True)


@contextmanager
def full(fleet: Fleet, number: int, place: str) -> Iterator[None]:
    """A file system of one page, with that page taken."""
    _mount(fleet, number, "-t", "tmpfs", "-o", "size=4k", "tmpfs", place)
    address = fleet.hosts.addresses[number]
    fleet.remote(address, f"head -c 4096 /dev/zero > {place}/taken")
    try:
        yield
    finally:
        pid = str(fleet.hosts.daemons[number].pid)
        subprocess.run(["nsenter", "-t", pid, "-m", "umount", place], check=True)


@contextmanager
def read_only(fleet: Fleet, number: int, place: str) -> Iterator[None]:
    """A file system that was mounted read-only, as after an error of its disk."""
    _mount(fleet, number, "-o", "remount,ro", place)
    try:
        yield
    finally:
        _mount(fleet, number, "-o", "remount,rw", place)


@pytest.fixture(autouse=True)
def clean(fleet: Fleet) -> Iterator[None]:
    """Nothing declared and nothing left before and after each."""
    yield
    fleet.declare({"state": "absent"})
    assert fleet.apply().returncode == 0


@pytest.mark.parametrize("trouble", [full, read_only])
@pytest.mark.parametrize("place", PLACES)
def test_a_host_that_cannot_be_written_stays_as_it_was(
    fleet: Fleet, trouble: object, place: str
) -> None:
    before = fleet.live(TIMEOUT, BACKLOG)
    one, two, bad = fleet.hosts.addresses
    fleet.declare({"values": {TIMEOUT: 15, BACKLOG: 32768}})
    with trouble(fleet, 2, place):  # type: ignore[operator]
        done = fleet.apply()
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert any(bad in line and place in line for line in said.splitlines()), said
    read = f"cat /proc/sys/{TIMEOUT.replace('.', '/')} /proc/sys/{BACKLOG.replace('.', '/')}"
    assert set(fleet.remote(bad, read).split()) == {*before[TIMEOUT], *before[BACKLOG]}
    assert fleet.remote(bad, "ls -A /etc/sysctl.d") == ""
    for address in (one, two):
        assert fleet.remote(address, read).split() == ["15", "32768"]
    assert fleet.changes() == 1, "the run after it has one host to change"
    assert fleet.remote(bad, read).split() == ["15", "32768"]


def test_a_slow_host_does_not_slow_the_others(fleet: Fleet) -> None:
    """Two seconds before every command of one host: the run costs its commands, and no more."""
    slow = fleet.hosts.addresses[1]
    fleet.declare({"values": {TIMEOUT: 15}})
    began = time.monotonic()
    with fleet.hosts.program(1, "sh", 'sleep 2; exec /bin/sh "$@"'):
        before = fleet.hosts.sessions(slow)
        assert fleet.changes() == 3
        commands = fleet.hosts.sessions(slow) - before
    assert commands <= 3
    assert 2 < time.monotonic() - began < 2 * commands + 20


@pytest.mark.parametrize("after", [0.2, 0.6, 1.0, 1.4, 1.8])
def test_a_controller_that_is_killed_is_followed_by_a_run_that_converges(
    fleet: Fleet, after: float
) -> None:
    before = fleet.live(TIMEOUT, BACKLOG)
    fleet.declare({"values": {TIMEOUT: 15, BACKLOG: 32768}})
    command = [str(BIN / "pyinfra"), "-y", "inventory.py", "deploys/sysctl.py"]
    run = subprocess.Popen(
        fleet.hosts.inside(*command), cwd=fleet.folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYINFRA_PROGRESS": "off"},
    )  # fmt: skip
    time.sleep(after)
    run.send_signal(signal.SIGKILL)
    run.wait()
    fleet.changes()
    assert fleet.live(TIMEOUT, BACKLOG) == {TIMEOUT: {"15"}, BACKLOG: {"32768"}}
    fleet.declare({"state": "absent"})
    fleet.changes()
    assert fleet.live(TIMEOUT, BACKLOG) == before


LOST = """
import subprocess, sys, time
from pyinfra.api.command import StringCommand
from underlay import liveness
from underlay.inventory import load, reached

liveness.ASK, liveness.SILENT = 1, 4
with reached(load("inventory.py")) as (hosts, _):
    host = next(host for host in hosts if host.name == sys.argv[1])
    began = time.monotonic()
    done, _ = host.run_shell_command(StringCommand("echo", "begun;", "sleep", "90"))
    print(done, round(time.monotonic() - began), flush=True)
"""


def test_a_host_that_loses_its_power_ends_the_command_that_waits_for_it(fleet: Fleet) -> None:
    """Silent, not closed: as when its power or the way to it is gone."""
    fleet.declare({"values": {TIMEOUT: 15}})
    link = ["ip", "-n", fleet.hosts.netns(2), "link", "set", "eth0"]
    call = fleet.hosts.inside(sys.executable, "-c", LOST, fleet.hosts.addresses[2])
    with subprocess.Popen(call, cwd=fleet.folder, stdout=subprocess.PIPE, text=True) as run:
        time.sleep(5)
        assert run.poll() is None
        subprocess.run([*link, "down"], check=True)
        try:
            said, _ = run.communicate(timeout=60)
        finally:
            subprocess.run([*link, "up"], check=True)
    done, seconds = said.split()[-2:]
    assert done == "False"
    assert int(seconds) < 30
