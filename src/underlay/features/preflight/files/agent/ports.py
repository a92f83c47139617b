"""Probes of ports and of protocols without ports."""

import errno
import os
import selectors
import socket

from underlay.features.preflight.files.agent.plan import ECHO, SMALL, family, opened, packet
from underlay.features.preflight.files.agent.probing import IP_RECVERR, Probe, icmp_code, outcome
from underlay.features.preflight.files.agent.wrapping import wrapped


class Tcp(Probe):
    """Connect, send, expect the same bytes; connect only where a program of the node listens."""

    def open(self) -> None:
        _, _, peer, port, served = self.key
        own, address, port = self.agent.plan.ends("tcp", peer, port)
        found = socket.socket(family(address), socket.SOCK_STREAM)
        if family(address) == socket.AF_INET:
            found.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            found.bind((own, 0))
        self.served, self.asked = served, False
        self.watch(found, selectors.EVENT_WRITE)
        code = found.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS):
            self.done(*outcome(code, icmp_code(found)))

    def ready(self, mask: int) -> None:
        found = self.socket
        number = found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self.done(*outcome(number, icmp_code(found)))
        elif self.served:
            self.done("open", "served")
        elif not self.asked:
            self.asked = True
            found.send(packet(self.agent.plan, ECHO, 0, 0))
            self.agent.loop.modify(found, selectors.EVENT_READ, self.ready)
        else:
            self._answer()

    def _answer(self) -> None:
        try:
            data = self.socket.recv(SMALL)
        except OSError as error:
            self.done("closed", os.strerror(error.errno or 0))
            return
        good = data == packet(self.agent.plan, ECHO, 0, 0)
        self.done("open" if good else "closed", "" if good else "another program answered")


class Udp(Probe):
    """Datagrams of one size that must come back byte by byte."""

    tries = 3

    def open(self) -> None:
        _, _, peer, port, size = self.key
        own, address, port = self.agent.plan.ends("udp", peer, port)
        found = socket.socket(family(address), socket.SOCK_DGRAM)
        found.bind((own, 0))
        found.connect((address, port))
        self.data = packet(self.agent.plan, ECHO, size, 0, size)
        self.watch(found, selectors.EVENT_READ)

    def send(self) -> None:
        self.socket.send(self.data)

    def ready(self, mask: int) -> None:
        try:
            data = self.socket.recv(65535)
        except OSError as error:
            self.done(*outcome(error.errno or 0))
            return
        if data == self.data:
            self.done("open", "")
        elif opened(self.agent.plan, data):
            self.done("altered", f"{len(data)} bytes came back of {len(self.data)}")


class Raw(Probe):
    """A packet of a protocol without ports; the peer's own raw socket answers."""

    tries = 3

    def open(self) -> None:
        _, self.protocol, self.peer, _, _ = self.key
        self.listener = self.agent.raw(self.protocol)
        if self.listener.socket is None:
            self.done("unknown", self.listener.state.replace("cannot listen", "cannot be sent"))
            return
        self.agent.waiting[(self.protocol, self.peer)] = self

    def send(self) -> None:
        plan = self.agent.plan
        _, address, _ = plan.ends(self.protocol, self.peer, 0)
        data = wrapped(self.protocol, plan.address, address, packet(plan, ECHO, 0, 0))
        self.listener.socket.sendto(data, (address, 0))
