"""Datagrams between all pods every 50 ms, from one process: what was lost, and for how long.

`python pinger.py NAMESPACE=ADDRESS ...` until its standard input ends; then one JSON object,
`"FROM TO": [sent, lost, longest run of lost ones]`, by number of the pod. Loss is counted by
sequence numbers, so that a busy machine, which delays sender and receiver alike, loses nothing.
"""

from __future__ import annotations

import ctypes
import json
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

EVERY = 0.05
_PORT, _CLONE_NEWNET = 4793, 0x40000000
_PACKET = struct.Struct("!HHQ")


def _socket(namespace: str, address: str) -> socket.socket:
    """A socket of another namespace: a process may hold some of several."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace}").open() as place:
        if libc.setns(place.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    made.bind((address, _PORT))
    return made


class Counted:
    """What arrived, by pair of pods."""

    def __init__(self, count: int) -> None:
        self.pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
        self.last = dict.fromkeys(self.pairs, 0)
        self.lost = dict.fromkeys(self.pairs, 0)
        self.longest = dict.fromkeys(self.pairs, 0)

    def seen(self, pair: tuple[int, int], arrived: int) -> None:
        """A number that arrived; those before it that did not are lost."""
        gap = arrived - self.last[pair] - 1
        self.lost[pair] += gap
        self.longest[pair] = max(self.longest[pair], gap)
        self.last[pair] = arrived

    def read(self, found: socket.socket) -> None:
        """All that is waiting."""
        with suppress(BlockingIOError):
            while True:
                a, b, arrived = _PACKET.unpack(found.recv(64))
                self.seen((a, b), arrived)


def main(pods: list[tuple[str, str]]) -> None:
    """Send and receive until standard input ends, and a little longer for what is on its way."""
    sockets = [_socket(namespace, address) for namespace, address in pods]
    counted = Counted(len(pods))
    number, following, ended = 0, time.monotonic(), False
    while not ended:
        number += 1
        for a, b in counted.pairs:
            # no route is a lost datagram, which its number tells
            with suppress(OSError):
                sockets[a].sendto(_PACKET.pack(a, b, number), (pods[b][1], _PORT))
        following = max(following + EVERY, time.monotonic())
        ended = _receive(sockets, counted, following)
    _receive(sockets, counted, time.monotonic() + 1, until_end=False)
    for pair in counted.pairs:
        counted.seen(pair, number + 1)
    rows = {pair: [number, counted.lost[pair], counted.longest[pair]] for pair in counted.pairs}
    print(json.dumps({f"{a} {b}": row for (a, b), row in rows.items()}))


def _receive(
    sockets: list[socket.socket], counted: Counted, until: float, *, until_end: bool = True
) -> bool:
    """Receive until a time; whether standard input has ended."""
    watched: list[Any] = [*sockets, *([sys.stdin] if until_end else [])]
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select(watched, [], [], left)
        for found in ready:
            if found is sys.stdin:
                return True
            counted.read(found)
    return False


if __name__ == "__main__":
    main([(name, address) for name, _, address in (w.partition("=") for w in sys.argv[1:])])
