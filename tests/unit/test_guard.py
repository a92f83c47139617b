"""The way back of a guard, run for real below a folder of the test."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from underlay.facts.guard import folder
from underlay.operations.guard import Disarm, arm, released

NAME = "test"


class Guard:
    """A guard without a timer: what it would start is started by the test."""

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, Path(f"{root}{folder(NAME)}")
        self._bin = root / "bin"
        self._bin.mkdir()
        for name in ("systemctl", "systemd-run", "setsid"):
            (self._bin / name).write_text("#!/bin/sh\n")
            (self._bin / name).chmod(0o755)

    def shell(self, text: str) -> subprocess.Popen[bytes]:
        """A shell on the host, not waited for."""
        inside = text.replace("/var/lib/underlay", f"{self.root}/var/lib/underlay")
        path = f"{self._bin}:/usr/bin:/bin"
        return subprocess.Popen(["sh", "-c", inside], env={"PATH": path}, stdout=subprocess.PIPE)

    def disarm(self) -> str:
        """What it says to who comes back."""
        said, _ = self.shell(str(Disarm().command(NAME))).communicate(timeout=20)
        return Disarm().process(said.decode().splitlines())

    def change(self, text: str) -> subprocess.Popen[bytes]:
        """A guarded change."""
        armed = arm(NAME, 60, save="echo old > value", revert="cp value back")
        return self.shell(f"set -e\n{armed}\n{text}\n{released(NAME)}")

    def fire(self) -> None:
        """What the timer does."""
        subprocess.run(["sh", str(self.place / "revert.sh")], check=True)


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    """Nothing armed yet."""
    return Guard(tmp_path)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with the change, of another moment of the kernel's clock."""
    time.sleep(0.1)
    found = subprocess.Popen(["sleep", "60"])
    time.sleep(0.1)
    yield found
    found.kill()
    found.wait()


def test_a_change_that_is_still_at_work_is_ended_first(guard: Guard) -> None:
    child = guard.change("while :; do sleep 0.2; done")
    until = time.monotonic() + 20
    while not (guard.place / "armed").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    guard.fire()
    assert child.wait(timeout=20) == -15
    assert (guard.place / "back").read_text() == "old\n"
    assert (guard.place / "reverted").exists()


def test_another_process_that_has_the_number_of_a_change_that_was_cut_lives_on(
    guard: Guard, stranger: subprocess.Popen[bytes]
) -> None:
    assert guard.change("exit 1").wait(timeout=20) == 1
    file = guard.place / "pid"
    _, began = file.read_text().split()
    file.write_text(f"{stranger.pid} {began}\n")
    guard.fire()
    assert stranger.poll() is None
    assert (guard.place / "reverted").exists()


def test_what_was_disarmed_takes_nothing_back(guard: Guard) -> None:
    assert guard.change(":").wait(timeout=20) == 0
    assert not (guard.place / "pid").exists()
    (guard.place / "armed").rename(guard.place / "disarmed")
    guard.fire()
    assert not (guard.place / "back").exists()


def test_who_comes_back_in_time_disarms_it_and_nothing_is_left(guard: Guard) -> None:
    assert guard.change(":").wait(timeout=20) == 0
    assert guard.disarm() == "disarmed"
    assert not guard.place.exists()


def test_who_comes_back_too_late_is_told_and_nothing_is_left_for_the_next_run(guard: Guard) -> None:
    assert guard.change(":").wait(timeout=20) == 0
    (guard.place / "armed").rename(guard.place / "fired")
    assert guard.disarm() == "reverting"
    assert guard.place.exists(), "what is needed to take the change back"
    (guard.place / "fired").rename(guard.place / "armed")
    guard.fire()
    assert guard.disarm() == "reverted"
    assert not guard.place.exists()
