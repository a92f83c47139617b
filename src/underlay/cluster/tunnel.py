"""A port on 127.0.0.1 that leads through an open SSH connection to an address beyond it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import paramiko


class Tunnel:
    """Forwards every connection to `address`:`port`, as the far end of `transport` sees it."""

    def __init__(self, transport: paramiko.Transport, address: str, port: int) -> None:
        self._transport = transport
        self._far = (address, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        with suppress(OSError):
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, origin = self._listener.accept()
            except OSError:
                return
            try:
                channel = self._transport.open_channel(
                    "direct-tcpip", self._far, origin, timeout=20
                )
            except (paramiko.SSHException, EOFError, OSError):
                near.close()
                continue
            for source, target in ((near, channel), (channel, near)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(
    source: socket.socket | paramiko.Channel, target: socket.socket | paramiko.Channel
) -> None:
    with suppress(OSError, EOFError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError, EOFError):
        target.shutdown(socket.SHUT_WR)
