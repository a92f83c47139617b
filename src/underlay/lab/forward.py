"""The way into a lab: ports on 127.0.0.1 of this computer lead to addresses inside the namespace.

A socket belongs to the namespace it was made in. So the listeners are opened outside, then this
process enters the lab's namespace, and every connection it makes starts there.

Run as `python -m underlay.lab.forward NETNS PORT=ADDRESS:PORT...`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from underlay.lab.process import NETNS_DIR

_CLONE_NEWNET = 0x40000000
#: Seconds without an acknowledgement after which a machine counts as gone, as underlay.liveness.
SILENT = 120


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1 in the namespace of the caller."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on right now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in held]
    for server in held:
        server.close()
    return ports


def enter(netns: Path) -> None:
    """Move this thread into a network namespace (setns(2); os.setns needs Python 3.12)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with netns.open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(netns))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(ConnectionError, OSError, RuntimeError):
        writer.write_eof()


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, address: str, port: int
) -> None:
    try:
        far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(address, port), 30)
    except (OSError, asyncio.TimeoutError):
        # closing at once is what a client of an unreachable machine sees
        writer.transport.abort()
        return
    # a machine without power must end the client's connection as a real one would end its own
    far: socket.socket = far_writer.get_extra_info("socket")
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT * 1000)
    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
    for end in (writer, far_writer):
        with suppress(ConnectionError, OSError):
            end.close()


async def _run(targets: list[tuple[socket.socket, str, int]]) -> None:
    servers = [
        await asyncio.start_server(partial(_serve, address=address, port=port), sock=listener)
        for listener, address, port in targets
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main(arguments: list[str]) -> None:
    """Open every listener, enter the namespace, forward until killed."""
    netns, *rules = arguments
    targets = []
    for rule in rules:
        local, _, far = rule.partition("=")
        address, _, port = far.rpartition(":")
        targets.append((listen(int(local)), address, int(port)))
    enter(NETNS_DIR / netns)
    asyncio.run(_run(targets))


if __name__ == "__main__":
    main(sys.argv[1:])
