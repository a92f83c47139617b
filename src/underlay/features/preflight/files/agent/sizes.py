"""The largest packet of a path."""

import selectors
import socket

from underlay.features.preflight.files.agent.echo import IPV6_MTU_DISCOVER
from underlay.features.preflight.files.agent.plan import ACK, family, opened, packet
from underlay.features.preflight.files.agent.probing import IP_MTU_DISCOVER, PMTUDISC_PROBE, Probe


class PathMtu(Probe):
    """The largest packet that reaches a peer with don't-fragment set, between two sizes.

    Each round sends several sizes at once, twice. `low` is the largest that arrived, `high` the
    smallest that did not; the last gap is asked once more, so that a lost packet is not a limit.
    """

    STEPS = 8
    ROUNDS = 20

    def open(self) -> None:
        _, protocol, self.peer, self.port, (self.floor, self.top) = self.key
        self.address = self.agent.plan.where(protocol, self.peer)
        self.low, self.high, self.rounds, self.confirmed = 0, self.top + 1, 0, False
        self.sizes = [self.top]
        self.over = 48 if family(self.address) == socket.AF_INET6 else 28
        if self.port:
            self._connect()
        elif self.agent.pinger(self.address) is None:
            self.done("unknown", "no right to send ICMP; run as root")
        else:
            self.agent.waiting[(self.address, 1)] = self

    def _connect(self) -> None:
        six = family(self.address) == socket.AF_INET6
        found = socket.socket(family(self.address), socket.SOCK_DGRAM)
        level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        found.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, PMTUDISC_PROBE)
        found.bind((self.agent.plan.address, 0))
        found.connect((self.address, self.port))
        self.watch(found, selectors.EVENT_READ)

    def again(self) -> None:
        if self.finished:
            return
        if self.rounds:
            self._narrow()
        if self.finished:
            return
        self.rounds += 1
        pause = min(1.0, self.agent.plan.wait / 4)
        self._send()
        self.agent.at(pause / 2, self._send)
        self.agent.at(pause, self.again)

    def _narrow(self) -> None:
        self.high = min([self.high, *(size for size in self.sizes if size > self.low)])
        if self.rounds >= self.ROUNDS or (self.rounds >= 3 and not self.low):
            self._give_up()
        elif self.low and self.high - self.low <= 1:
            if self.confirmed:
                self.done("open", str(self.low))
            self.confirmed, self.sizes, self.high = True, [self.high], self.top + 1
        else:
            start = self.low or self.floor
            step = max(1, (self.high - start) // self.STEPS)
            self.sizes = list(range(start + (step if self.low else 0), self.high, step))

    def _give_up(self) -> None:
        """Where the port lets nothing through, an echo request may still tell."""
        if self.low or not self.port or self.agent.pinger(self.address) is None:
            self.done("open" if self.low else "timeout", str(self.low))
            return
        self.agent.close(self.socket)
        self.socket, self.port = None, 0
        self.high, self.rounds, self.sizes = self.top + 1, 0, [self.top]
        self.agent.waiting[(self.address, 1)] = self

    def _send(self) -> None:
        for size in self.sizes:
            if self.finished or size <= self.low:
                continue
            body = size - self.over
            try:
                if self.port:
                    data = packet(self.agent.plan, ACK, self.peer, body, body)
                    self.socket.send(data)
                else:
                    self.agent.pinger(self.address).send(self.address, self.peer, body)
            except OSError:
                # larger than our own interface, or an ICMP error of the datagram before
                continue

    def ready(self, mask: int) -> None:
        try:
            found = opened(self.agent.plan, self.socket.recv(2048))
        except OSError:
            return
        if found is not None:
            self.arrived(found[3] + self.over)

    def arrived(self, size: int) -> None:
        """One size came through, perhaps after the round that sent it: a peer can be slow."""
        if self.floor <= size <= self.top:
            self.low = max(self.low, size)
            if size >= self.high:
                self.high, self.confirmed = self.top + 1, False
            if size == self.top:
                self.done("open", str(size))
