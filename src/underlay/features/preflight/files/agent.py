"""Listen, probe and measure on one node; read from standard input by `python3 - PLAN`.

It prints one line of JSON and goes on in the background, as one process without a file open but its
own folder: `go` there starts the probes, `results` is their answer, `stop` ends it and leaves
`arrivals`. It ends by itself, and takes its folder along, when nobody touches `lease` for some
seconds, and in any case at the deadline. It answers only datagrams that carry this run's number.
Runs on python 3.6 and newer, standard library only.
"""

import base64
import collections
import contextlib
import ctypes
import errno
import heapq
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
import zlib
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

MAGIC = b"underlay"
ECHO, ACK, REPLY = 0, 1, 2
HEAD = struct.Struct("!8s8sBHHI")
SMALL = 64
AT_ONCE = 256
RAW = {"ipip": 4, "esp": 50}
IP_RECVERR, IP_MTU_DISCOVER, PMTUDISC_PROBE = 11, 10, 3
IPV6_MTU_DISCOVER, IPV6_DONTFRAG, ICMP6_FILTER = 23, 62, 1
PROHIBITED_CODES = (9, 10, 13)


class Plan:
    """What to do; see features/preflight/agent.py, which writes it."""

    def __init__(self, found: Dict[str, Any]) -> None:
        self.run = bytes.fromhex(found["run"])
        self.me = found["me"]
        self.address = found["address"]
        self.peers = found["peers"]
        self.listen = found["listen"]
        self.flows = found["flows"]
        self.icmp = found["icmp"]
        self.second = {int(peer): address for peer, address in found["second"].items()}
        self.mtu = found["mtu"]
        self.dns = found["dns"]
        self.wait = found["wait"]
        self.lease = found["lease"]
        self.deadline = found["deadline"]

    def where(self, protocol: str, peer: int) -> str:
        """The address of a peer that a protocol goes to: the second one for `icmp6`."""
        return str(self.second[peer] if protocol == "icmp6" else self.peers[peer][1])


def family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packet(plan: Plan, kind: int, number: int, value: int, size: int = SMALL) -> bytes:
    head = HEAD.pack(MAGIC, plan.run, kind, plan.me, number & 0xFFFF, value)
    return (head + plan.run * (size // 8 + 1))[: max(size, HEAD.size)]


def opened(plan: Plan, data: bytes) -> Optional[Tuple[int, int, int, int]]:
    """kind, source, number, value of one of our packets; None for anything else."""
    if len(data) < HEAD.size:
        return None
    magic, run, kind, source, number, value = HEAD.unpack_from(data)
    return (kind, source, number, value) if (magic, run) == (MAGIC, plan.run) else None


def checksum(data: bytes) -> int:
    total = sum(
        int(word)
        for word in struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    )
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def wrapped(protocol: str, source: str, target: str, data: bytes) -> bytes:
    """`data` as the inside of a tunnel packet that middle boxes take for a real one."""
    if protocol == "esp":
        return b"unde" + struct.pack("!I", 1) + data
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, 253, 0)
    total = checksum(start + ends)
    return start[:10] + struct.pack("!H", total) + ends + data


def unwrapped(protocol: str, data: bytes) -> bytes:
    """The inside of a raw packet, which starts with its outer IPv4 header."""
    return data[(data[0] & 15) * 4 + (8 if protocol == "esp" else 20) :] if data else b""


def only_ours(found: socket.socket, offset: int) -> None:
    """Let the kernel drop what does not carry our mark: a busy tunnel must not flood the loop."""
    rows = [
        (0xB1, 0, 0, 0),
        (0x40, 0, 0, offset),
        (0x15, 0, 1, 0x756E6465),
        (6, 0, 0, 1 << 18),
        (6, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in rows))
    found.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", len(rows), ctypes.addressof(code)))


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
        address = self.agent.plan.address
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


class Tcp(Probe):
    """Connect, send, expect the same bytes; connect only where a program of the node listens."""

    def open(self) -> None:
        _, _, peer, port, served = self.key
        _, address, _ = self.agent.plan.peers[peer]
        found = socket.socket(family(address), socket.SOCK_STREAM)
        if family(address) == socket.AF_INET:
            found.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            found.bind((self.agent.plan.address, 0))
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
        _, address, _ = self.agent.plan.peers[peer]
        found = socket.socket(family(address), socket.SOCK_DGRAM)
        found.bind((self.agent.plan.address, 0))
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
        _, address, _ = plan.peers[self.peer]
        data = wrapped(self.protocol, plan.address, address, packet(plan, ECHO, 0, 0))
        self.listener.socket.sendto(data, (address, 0))


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


class Agent:
    """The one loop of listeners, probes and timers."""

    def __init__(self, plan: Plan, folder: str) -> None:
        self.plan, self.folder = plan, folder
        self.loop = selectors.DefaultSelector()
        self.timers: List[Tuple[float, int, Callable[[], None]]] = []
        self.count, self.active, self.going = 0, 0, False
        self.notes: Set[str] = set()
        self.arrivals: Dict[Tuple[str, int, int, str], Tuple[int, int]] = {}
        self.results: List[List[Any]] = []
        self.waiting: Dict[Tuple[str, int], Any] = {}
        self.queue: Any = collections.deque()
        self.listeners = [Listener(self, protocol, port) for protocol, port in plan.listen]
        self.pingers: Dict[int, Pinger] = {}
        for kind in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                self.pingers[kind] = Pinger(self, kind)

    def pinger(self, address: str) -> Any:
        """The ICMP socket for an address, None without the right to one."""
        return self.pingers.get(family(address))

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.count, call))

    def close(self, found: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.loop.unregister(found)
        found.close()

    def raw(self, protocol: str) -> Listener:
        for listener in self.listeners:
            if listener.protocol == protocol:
                return listener
        listener = Listener(self, protocol, 0)
        self.listeners.append(listener)
        return listener

    def arrived(self, protocol: str, port: int, source: int, address: str, size: int) -> None:
        key = (protocol, port, source, address)
        count, largest = self.arrivals.get(key, (0, 0))
        self.arrivals[key] = (count + 1, max(largest, size))

    def replied(self, protocol: str, peer: int) -> None:
        probe = self.waiting.get((protocol, peer))
        if probe is not None:
            probe.done("open", "")

    def pinged(self, address: str, size: int) -> None:
        """An echo reply with `size` bytes of data: of an echo probe, of a search, or of both."""
        if (address, 0) in self.waiting:
            self.waiting[(address, 0)].done("open", "")
        if (address, 1) in self.waiting:
            probe = self.waiting[(address, 1)]
            probe.arrived(size + probe.over)

    def result(self, key: List[Any], verdict: str, detail: str, milliseconds: int) -> None:
        self.results.append([*key, verdict, detail, milliseconds])
        self.active -= 1
        self.more()

    def begin(self) -> None:
        """Queue every probe; peers in turns, so that no one gets all at once."""
        plan = self.plan
        self.going = True
        with open(os.path.join(self.folder, "go")) as text:
            served = {tuple(row) for row in json.load(text)}
        kinds: Dict[str, Any] = {"tcp": Tcp, "udp": Udp, "ipip": Raw, "esp": Raw}
        found: List[Probe] = [
            Icmp(self, ["flow", protocol, peer, 0, 0]) for protocol, peer in plan.icmp
        ]
        for protocol, port, peer, size in plan.flows:
            busy = (peer, protocol, port) in served
            if busy and protocol == "udp":
                row = ["flow", protocol, peer, port, size, "unknown", "served", 0]
                self.results.append(row)
                continue
            extra = int(busy) if protocol == "tcp" else size
            found.append(kinds[protocol](self, ["flow", protocol, peer, port, extra]))
        for peer, protocol, wanted, low, high in plan.mtu:
            port = 0 if (peer, "udp", wanted) in served else wanted
            how = "icmp" if protocol == "udp" and not port else protocol
            found.append(PathMtu(self, ["mtu", how, peer, port, [low, high]]))
        for way, server, name in plan.dns:
            found.append(Dns(self, ["dns", way, server, name, 0]))
        self.queue.extend(found)
        self.more()

    def more(self) -> None:
        while self.queue and self.active < AT_ONCE:
            self.active += 1
            probe = self.queue.popleft()
            probe.began = time.monotonic()
            probe.start()
        if self.going and not self.queue and not self.active:
            self.going = False
            self.write("results", {"results": self.results, "notes": sorted(self.notes)})

    def write(self, name: str, found: object) -> None:
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w") as out:
            json.dump(found, out, separators=(",", ":"))
        os.rename(path + ".new", path)

    def turn(self, longest: float) -> None:
        """Wait for one round of events and run what is due."""
        now = time.monotonic()
        pause = min(longest, max(0.0, self.timers[0][0] - now)) if self.timers else longest
        for key, mask in self.loop.select(pause):
            found: Any = key.fileobj
            # an event before it in this round may have closed it
            if found.fileno() >= 0:
                key.data(mask)
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            heapq.heappop(self.timers)[2]()

    def wake(self) -> None:
        """Let a signal end the wait of the loop: `go` and `stop` are followed by one."""
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.set_wakeup_fd(there.fileno())
        self.ends = (here, there)
        self.loop.register(here, selectors.EVENT_READ, lambda mask: here.recv(64) and None)

    def there(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.folder, name))

    def live(self) -> None:
        """Serve until told to stop, until nobody holds the lease, or until the deadline."""
        lease = os.path.join(self.folder, "lease")
        touched, seen = 0.0, time.monotonic()
        end = seen + self.plan.deadline
        started, looked = False, 0.0
        self.wake()
        while time.monotonic() < end and time.monotonic() - seen < self.plan.lease:
            self.turn(0.5)
            if time.monotonic() - looked < 0.1:
                # many events in a row; the signal of `go` or `stop` waits for the next look
                self.at(0.1, lambda: None)
                continue
            looked = time.monotonic()
            try:
                changed = os.stat(lease).st_mtime
            except OSError:
                return
            if changed != touched:
                touched, seen = changed, looked
            if not started and self.there("go"):
                started = True
                self.begin()
            if self.there("stop"):
                self.end()
                return

    def end(self) -> None:
        """Close every port, then say what arrived."""
        for key in list(self.loop.get_map().values()):
            found: Any = key.fileobj
            self.close(found)
        rows = [[*key, *value] for key, value in sorted(self.arrivals.items())]
        self.write("arrivals", {"arrivals": rows, "notes": sorted(self.notes)})


def synchronised() -> Optional[bool]:
    """Whether the kernel's clock is disciplined by a daemon; None when it does not tell."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != 5


def remove(folder: str) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


def main() -> None:
    now = time.time()
    plan = Plan(json.loads(zlib.decompress(base64.b64decode(sys.argv[1]))))
    place = "/run" if os.access("/run", os.W_OK) else "/tmp"  # noqa: S108 - a new folder with a random name
    folder = os.path.join(place, f"underlay-preflight.{os.urandom(6).hex()}")
    os.mkdir(folder, 0o700)
    agent = Agent(plan, folder)
    with open(os.path.join(folder, "lease"), "w"):
        pass
    states = [[each.protocol, each.port, each.state] for each in agent.listeners]
    # `go` may come before the loop is ready for its signal, and finds it then by looking
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    child = os.fork()
    if child:
        answer = {
            "folder": folder, "pid": child, "clock": now, "synchronised": synchronised(),
            "tool": "python3 " + sys.version.split()[0], "uid": os.geteuid(), "listeners": states,
        }  # fmt: skip
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        os._exit(0)
    os.setsid()
    # the kernel ends the process at the deadline even if the loop hangs
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(plan.deadline) + 5)
    empty = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(empty, number)
    try:
        agent.live()
    finally:
        # `arrivals` is there when somebody asked for it, and is about to read it
        if not agent.there("arrivals"):
            remove(folder)
        os._exit(0)


if __name__ == "__main__":
    main()
