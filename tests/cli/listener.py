"""A port that counts connections and answers none of them as a server would."""

from __future__ import annotations

import socket
import threading


class Listener:
    """Accepts and closes, at once or after `silent_s` seconds; `count` says how often."""

    def __init__(self) -> None:
        self.count = 0
        self.silent_s = 0.0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.count += 1
            threading.Timer(self.silent_s, connection.close).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.close()
