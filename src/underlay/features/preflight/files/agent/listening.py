"""Ports and protocols that peers may try."""

import errno
import os
import selectors
import socket
from typing import TYPE_CHECKING, Any

from underlay.features.preflight.files.agent.plan import (
    ACK,
    ECHO,
    REPLY,
    SMALL,
    family,
    opened,
    packet,
)
from underlay.features.preflight.files.agent.wrapping import RAW, only_ours, unwrapped, wrapped

if TYPE_CHECKING:
    from underlay.features.preflight.files.agent.loop import Agent


class Listener:
    """One port or protocol that peers may try. `state`: listening, served or why not."""

    def __init__(self, agent: "Agent", protocol: str, port: int) -> None:
        self.agent, self.protocol, self.port = agent, protocol, port
        self.state = "listening"
        self.socket: Any = None
        try:
            self.socket = self._open()
        except OSError as error:
            busy = error.errno == errno.EADDRINUSE
            self.state = "served" if busy else f"cannot listen: {os.strerror(error.errno or 0)}"
        if self.socket is not None:
            self.socket.setblocking(False)
            agent.loop.register(self.socket, selectors.EVENT_READ, self.ready)

    def _open(self) -> socket.socket:
        address = self.agent.plan.heard_at(self.protocol, self.port)
        if self.protocol in RAW:
            found = socket.socket(socket.AF_INET, socket.SOCK_RAW, RAW[self.protocol])
            only_ours(found, 20 if self.protocol == "ipip" else 0)
            return found
        kind = socket.SOCK_STREAM if self.protocol == "tcp" else socket.SOCK_DGRAM
        found = socket.socket(family(address), kind)
        try:
            if self.protocol == "tcp":
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((address, self.port))
            if self.protocol == "tcp":
                found.listen(256)
        except OSError:
            found.close()
            raise
        return found

    def ready(self, mask: int) -> None:
        if self.protocol == "tcp":
            self._accept()
            return
        for _ in range(64):
            try:
                data, where = self.socket.recvfrom(65535)
            except OSError:
                return
            self._datagram(data, where)

    def _accept(self) -> None:
        for _ in range(64):
            try:
                connection, where = self.socket.accept()
            except OSError:
                return
            Served(self, connection, where[0])

    def _datagram(self, data: bytes, where: Any) -> None:
        plan = self.agent.plan
        inner = unwrapped(self.protocol, data) if self.protocol in RAW else data
        found = opened(plan, inner)
        if found is None or found[1] == plan.me:
            return
        kind, source, number, value = found
        if kind == REPLY:
            self.agent.replied(self.protocol, source)
            return
        self.agent.arrived(self.protocol, self.port, source, where[0], len(inner))
        if self.protocol in RAW:
            answer = packet(plan, REPLY, number, value)
            answer = wrapped(self.protocol, plan.address, where[0], answer)
        else:
            answer = inner if kind == ECHO else packet(plan, ACK, number, len(inner))
        try:
            self.socket.sendto(answer, where)
        except OSError:
            self.agent.notes.add(f"cannot answer on {self.protocol}")


class Served:
    """One accepted connection: its first bytes go back, then it is closed."""

    def __init__(self, listener: Listener, connection: socket.socket, address: str) -> None:
        self.listener, self.connection, self.address = listener, connection, address
        connection.setblocking(False)
        listener.agent.loop.register(connection, selectors.EVENT_READ, self.ready)
        listener.agent.at(5, self.close)

    def ready(self, mask: int) -> None:
        agent = self.listener.agent
        try:
            data = self.connection.recv(SMALL)
            found = opened(agent.plan, data)
            if found is not None:
                agent.arrived("tcp", self.listener.port, found[1], self.address, len(data))
                self.connection.send(data)
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        self.listener.agent.close(self.connection)
