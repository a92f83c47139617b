"""The one loop of listeners, probes and timers, and how long it lives."""

import collections
import contextlib
import heapq
import json
import os
import selectors
import signal
import socket
import time
from typing import Any, Callable, Dict, List, Set, Tuple

from underlay.features.preflight.files.agent.echo import Icmp, Pinger
from underlay.features.preflight.files.agent.listening import Listener
from underlay.features.preflight.files.agent.names import Dns
from underlay.features.preflight.files.agent.plan import Plan, family
from underlay.features.preflight.files.agent.ports import Raw, Tcp, Udp
from underlay.features.preflight.files.agent.probing import Probe
from underlay.features.preflight.files.agent.sizes import PathMtu

AT_ONCE = 256


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
