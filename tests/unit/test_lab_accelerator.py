"""KVM is used only where a kernel was seen to run with it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from underlay.lab.qemu import probe, says_its_version

SPEAKS = "echo 'EDD ok'; echo '[    0.000000] Linux version 6.1.0'; exec sleep 60"
STANDS_STILL = "echo 'Probing EDD (edd=off to disable)... ok'; exec sleep 60"
ABORTS = "echo 'failed to set MSR 0x4b564d06 to 0x0' >&2; exit 134"


@pytest.mark.parametrize(
    ("guest", "runs"), [(SPEAKS, True), (STANDS_STILL, False), (ABORTS, False)]
)
def test_a_guest_runs_when_its_kernel_has_said_its_version(guest: str, runs: bool) -> None:
    began = time.monotonic()
    assert says_its_version(["sh", "-c", guest], seconds=2) is runs
    assert time.monotonic() - began < 30


def test_the_probe_boots_the_kernel_of_the_machines() -> None:
    words = probe("kvm", Path("/images/vmlinuz"))
    assert words[words.index("-kernel") + 1] == "/images/vmlinuz"
    assert words[words.index("-accel") + 1] == "kvm"
    assert words[words.index("-cpu") + 1] == "host"
