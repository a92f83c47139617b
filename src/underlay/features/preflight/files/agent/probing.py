"""One question to one peer, and what an error of the kernel says."""

import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, List, Tuple

if TYPE_CHECKING:
    from underlay.features.preflight.files.agent.loop import Agent

IP_RECVERR, IP_MTU_DISCOVER, PMTUDISC_PROBE = 11, 10, 3
PROHIBITED_CODES = (9, 10, 13)


class Probe:
    """One question to one peer. A subclass sends, and calls `done` once."""

    tries = 1

    def __init__(self, agent: "Agent", key: List[Any]) -> None:
        self.agent, self.key, self.finished, self.sent = agent, key, False, 0
        self.socket: Any = None
        self.began = time.monotonic()

    def start(self) -> None:
        try:
            self.open()
        except OSError as error:
            self.done(*outcome(error.errno or 0))
            return
        self.again()

    def again(self) -> None:
        if self.finished:
            return
        if self.sent >= self.tries:
            self.done("timeout", "")
            return
        self.sent += 1
        self.agent.at(self.agent.plan.wait / self.tries, self.again)
        try:
            self.send()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINPROGRESS):
                self.done(*outcome(error.errno or 0))

    def open(self) -> None:
        """Make the socket."""

    def send(self) -> None:
        """Send once; called `tries` times."""

    def watch(self, found: socket.socket, mask: int) -> None:
        found.setblocking(False)
        self.socket = found
        self.agent.loop.register(found, mask, self.ready)

    def ready(self, mask: int) -> None:
        """The socket can be read or written."""

    def done(self, verdict: str, detail: str) -> None:
        if self.finished:
            return
        self.finished = True
        if self.socket is not None:
            self.agent.close(self.socket)
        seconds = time.monotonic() - self.began
        self.agent.result(self.key, verdict, detail, round(seconds * 1000))


def outcome(number: int, code: int = -1) -> Tuple[str, str]:
    """Verdict and detail of an errno, and of the ICMP code behind it when it is known."""
    if number == errno.ECONNREFUSED:
        return "refused", ""
    if number in (errno.EPERM, errno.EACCES):
        return "prohibited", "by its own output filter"
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOPROTOOPT, errno.EPROTO):
        if code in PROHIBITED_CODES or (number == errno.EHOSTUNREACH and code < 0):
            return "prohibited", ""
        return "unreachable", os.strerror(number)
    if number == errno.ETIMEDOUT:
        return "timeout", ""
    return "error", os.strerror(number)


def icmp_code(found: socket.socket) -> int:
    """Code of the ICMP error that a socket got; -1 for none."""
    try:
        _, ancillary, _, _ = found.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return -1
    for level, _, data in ancillary:
        if level in (socket.IPPROTO_IP, socket.IPPROTO_IPV6) and len(data) >= 8:
            return int(struct.unpack_from("=IBBB", data)[3])
    return -1
