"""Echo requests of both families, by one socket each."""

import os
import selectors
import socket
import struct
from typing import TYPE_CHECKING

from underlay.features.preflight.files.agent.plan import ECHO, SMALL, opened, packet
from underlay.features.preflight.files.agent.probing import IP_MTU_DISCOVER, PMTUDISC_PROBE, Probe
from underlay.features.preflight.files.agent.wrapping import checksum

if TYPE_CHECKING:
    from underlay.features.preflight.files.agent.loop import Agent

IPV6_MTU_DISCOVER, IPV6_DONTFRAG, ICMP6_FILTER = 23, 62, 1


class Icmp(Probe):
    """Echo requests by one socket that all probes of this kind share."""

    tries = 3

    def open(self) -> None:
        _, protocol, self.peer, _, _ = self.key
        self.address = self.agent.plan.where(protocol, self.peer)
        if self.agent.pinger(self.address) is None:
            self.done("unknown", "no right to send ICMP; run as root")
            return
        self.agent.waiting[(self.address, 0)] = self

    def send(self) -> None:
        self.agent.pinger(self.address).send(self.address, self.peer, SMALL)


class Pinger:
    """One ICMP socket: raw as root, else the unprivileged kind where the node allows it."""

    def __init__(self, agent: "Agent", kind: int) -> None:
        self.agent = agent
        self.six = kind == socket.AF_INET6
        self.raw = True
        protocol = socket.IPPROTO_ICMPV6 if self.six else socket.IPPROTO_ICMP
        try:
            self.socket = socket.socket(kind, socket.SOCK_RAW, protocol)
        except OSError:
            self.raw = False
            self.socket = socket.socket(kind, socket.SOCK_DGRAM, protocol)
        if self.six:
            self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
            self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        if self.six and self.raw:
            # echo replies only: neighbour discovery must not wake the loop
            wanted = b"\xff" * 16 + struct.pack("=I", 0xFFFFFFFF ^ 1 << (129 & 31)) + b"\xff" * 12
            self.socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, wanted)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.setblocking(False)
        agent.loop.register(self.socket, selectors.EVENT_READ, self.ready)

    def send(self, address: str, peer: int, size: int) -> None:
        """An echo request whose data has `size` bytes."""
        body = packet(self.agent.plan, ECHO, peer, size, size)
        kind = 128 if self.six else 8
        start = struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xFFFF, peer & 0xFFFF)
        # the kernel fills in the checksum of ICMPv6, which covers the addresses
        total = 0 if self.six else checksum(start + body)
        self.socket.sendto(start[:2] + struct.pack("!H", total) + start[4:] + body, (address, 0))

    def ready(self, mask: int) -> None:
        for _ in range(64):
            try:
                data, where = self.socket.recvfrom(65535)
            except OSError:
                return
            data = data[(data[0] & 15) * 4 :] if self.raw and not self.six else data
            good = data[:1] == (b"\x81" if self.six else b"\0")
            found = opened(self.agent.plan, data[8:]) if good else None
            if found is not None and found[1] == self.agent.plan.me:
                self.agent.pinged(where[0], found[3])
