"""Questions to a DNS server."""

import os
import selectors
import socket
import struct

from underlay.features.preflight.files.agent.plan import family
from underlay.features.preflight.files.agent.probing import Probe, outcome


class Dns(Probe):
    """One A question to one server, by UDP or by TCP."""

    tries = 2

    def open(self) -> None:
        _, self.way, server, name, _ = self.key
        self.number = struct.unpack("!H", os.urandom(2))[0]
        words = [word.encode() for word in name.rstrip(".").split(".")]
        text = b"".join(bytes([len(word)]) + word for word in words) + b"\0"
        self.data = struct.pack("!HHHHHH", self.number, 0x0100, 1, 0, 0, 0) + text
        self.data += struct.pack("!HH", 1, 1)
        self.got, self.asked = b"", False
        kind = socket.SOCK_STREAM if self.way == "tcp" else socket.SOCK_DGRAM
        found = socket.socket(family(server), kind)
        self.watch(found, selectors.EVENT_WRITE if self.way == "tcp" else selectors.EVENT_READ)
        found.connect_ex((server, 53))

    def send(self) -> None:
        if self.way == "udp":
            self.socket.send(self.data)

    def ready(self, mask: int) -> None:
        found = self.socket
        try:
            if self.way == "tcp" and not self.asked:
                number = found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    self.done(*outcome(number))
                    return
                self.asked = True
                found.send(struct.pack("!H", len(self.data)) + self.data)
                self.agent.loop.modify(found, selectors.EVENT_READ, self.ready)
                return
            data = found.recv(4096)
        except OSError as error:
            self.done(*outcome(error.errno or 0))
            return
        self._read(data)

    def _read(self, data: bytes) -> None:
        if self.way == "tcp":
            self.got += data
            if not data:
                self.done("closed", "the server closed the connection")
                return
            if len(self.got) < 14:
                return
            data = self.got[2:]
        if len(data) < 12 or struct.unpack_from("!H", data)[0] != self.number:
            return
        _, flags, _, answers = struct.unpack_from("!HHHH", data)
        codes = {0: "no address", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
        code = flags & 15
        good = code == 0 and (answers > 0 or flags & 0x0200)
        self.done("open" if good else "failed", "" if good else codes.get(code, f"code {code}"))
