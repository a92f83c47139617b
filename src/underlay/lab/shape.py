"""A slow or lossy cable: a process between a machine's tap and the bridge of its link.

The rule: only what a machine sends is shaped, so a frame between two machines is delayed and lost
once each way. The kernel's own netem is not used because many kernels come without it.

Run in the lab's namespace as `python -m underlay.lab.shape DELAY_MS LOSS_PERCENT TAP=PORT...`.
"""

from __future__ import annotations

import heapq
import random
import selectors
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

_ALL_PROTOCOLS = 0x0003
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23
_FRAME = 65535


@dataclass(order=True)
class Waiting:
    """A frame on its way; due: value of time.monotonic()."""

    due: float
    number: int
    out: socket.socket = field(compare=False)
    frame: bytes = field(compare=False)


class Cable:
    """Pairs of devices; what comes in on the first of a pair leaves late, or never, on the second.

    delay: seconds; loss: share between 0 and 1.
    """

    def __init__(self, delay: float, loss: float) -> None:
        self.delay = delay
        self.loss = loss
        self._waiting: list[Waiting] = []
        self._count = 0
        self._selector = selectors.DefaultSelector()

    def connect(self, tap: str, port: str) -> None:
        """Join a machine's tap to its port of the bridge."""
        near, far = _open(tap), _open(port)
        self._selector.register(near, selectors.EVENT_READ, (far, True))
        self._selector.register(far, selectors.EVENT_READ, (near, False))

    def run(self) -> None:
        """Carry frames until the process is stopped."""
        while True:
            now = time.monotonic()
            while self._waiting and self._waiting[0].due <= now:
                first = heapq.heappop(self._waiting)
                _send(first.out, first.frame)
            timeout = max(0.0, self._waiting[0].due - now) if self._waiting else None
            for key, _ in self._selector.select(timeout):
                out, shaped = key.data
                self._carry(key.fileobj, out, shaped)  # type: ignore[arg-type]

    def _carry(self, source: socket.socket, out: socket.socket, shaped: bool) -> None:
        try:
            frame = source.recv(_FRAME)
        except OSError:
            # the device is down: the machine is cut off, and may be joined again
            return
        if not shaped:
            _send(out, frame)
        elif random.random() >= self.loss:  # noqa: S311 - loss on a cable needs no secrecy
            self._count += 1
            due = time.monotonic() + self.delay
            heapq.heappush(self._waiting, Waiting(due, self._count, out, frame))


def _open(device: str) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    found.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    found.bind((device, _ALL_PROTOCOLS))
    return found


def _send(out: socket.socket, frame: bytes) -> None:
    # too large for the device, or the device is down: on a wire the frame is gone too
    with suppress(OSError):
        out.send(frame)


def main(arguments: list[str]) -> None:
    """Join every pair and carry frames until killed."""
    delay, loss, *pairs = arguments
    cable = Cable(float(delay) / 1000, float(loss) / 100)
    for pair in pairs:
        tap, _, port = pair.partition("=")
        cable.connect(tap, port)
    cable.run()


if __name__ == "__main__":
    main(sys.argv[1:])
