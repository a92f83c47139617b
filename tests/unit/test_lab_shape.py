"""The cable of a shaped link: late one way, lossy one way, in order, never blocked."""

from __future__ import annotations

import socket
import time

import pytest

from underlay.lab import shape


class OneRun(Exception):  # noqa: N818 - it ends the endless loop of a cable
    """The time of a test is over."""


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> dict[str, socket.socket]:
    """What machine and bridge see of the cable, by device name."""
    outer: dict[str, socket.socket] = {}

    def opened(device: str) -> socket.socket:
        outer[device], inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        outer[device].settimeout(2)
        return inner

    monkeypatch.setattr(shape, "_open", opened)
    return outer


def _run(cable: shape.Cable, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    until = time.monotonic() + seconds
    real = cable._selector.select

    def select(timeout: float | None) -> object:
        if time.monotonic() > until:
            raise OneRun
        return real(0.01 if timeout is None else min(timeout, 0.01))

    monkeypatch.setattr(cable._selector, "select", select)
    with pytest.raises(OneRun):
        cable.run()


def test_frames_leave_late_and_in_order_and_come_back_at_once(
    ends: dict[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    cable = shape.Cable(delay=0.2, loss=0)
    cable.connect("t0-0", "it0-0")
    for number in range(5):
        ends["t0-0"].send(b"frame %d" % number)
    ends["it0-0"].send(b"answer")
    _run(cable, 0.1, monkeypatch)
    assert ends["t0-0"].recv(100) == b"answer"
    ends["it0-0"].setblocking(False)
    with pytest.raises(BlockingIOError):
        ends["it0-0"].recv(100)
    monkeypatch.undo()
    _run(cable, 0.3, monkeypatch)
    assert [ends["it0-0"].recv(100) for _ in range(5)] == [b"frame %d" % n for n in range(5)]


def test_all_is_lost_at_100_percent_and_only_one_way(
    ends: dict[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    cable = shape.Cable(delay=0, loss=1)
    cable.connect("t0-0", "it0-0")
    ends["t0-0"].send(b"lost")
    ends["it0-0"].send(b"answer")
    _run(cable, 0.1, monkeypatch)
    assert ends["t0-0"].recv(100) == b"answer"
    ends["it0-0"].setblocking(False)
    with pytest.raises(BlockingIOError):
        ends["it0-0"].recv(100)
