"""Everything a check may look at: settings, what each node said, what the probes saw. Pure.

The rule: a check reads only this, so that one function serves the pre-flight, the proof after a
change, a deploy and a table of test cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from underlay.facts.node import Node
from underlay.features.preflight.settings import Preflight
from underlay.settings.network import Network


@dataclass(frozen=True)
class Clock:
    """One node's clock against this computer's, in seconds; the truth is within `error` of it.

    synchronised: whether the kernel says that a daemon disciplines it, None when it does not tell.
    """

    offset: float
    error: float
    synchronised: bool | None


@dataclass(frozen=True)
class Host:
    """One node. facts: None when it was not read; lost: why it dropped out, or "".

    modules: that its settings and the change need; sysctls: declared key -> value, `>=` before a
    minimum; second: the IPv6 address in dual stack; unprobed: why its agent could not run, or "";
    over: its address in the overlay beneath the CNI, or ""; beneath: the one that carries tunnels,
    which is `address` where there is no such overlay.
    """

    name: str
    groups: tuple[str, ...] = ()
    network: Network = field(default_factory=Network)
    preflight: Preflight = field(default_factory=Preflight)
    modules: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    facts: Node | None = None
    lost: str = ""
    tool: str = ""
    clock: Clock | None = None
    unprobed: str = ""
    leftover: bool = False
    second: str = ""
    over: str = ""
    beneath: str = ""

    @property
    def waits(self) -> bool:
        """Whether its node address is on an overlay that is not up yet."""
        return bool(self.over) and self.address != self.over


@dataclass(frozen=True)
class Flow:
    """One tried use of the network.

    verdict: open, refused, timeout, prohibited, unreachable, reply-lost, closed, altered, error or
    unknown; size: payload bytes; arrived_from: the address the target saw, "" when nothing came;
    beneath: between tunnels' ends; translated: a NAT on its way is declared.
    """

    source: str
    target: str
    protocol: str
    port: int
    verdict: str
    detail: str = ""
    size: int = 64
    arrived_from: str = ""
    served: bool = False
    beneath: bool = False
    translated: bool = False


@dataclass(frozen=True)
class PathMtu:
    """The largest packet from source to target; 0 when none came through, expected in bytes."""

    source: str
    target: str
    size: int
    expected: int
    detail: str = ""
    family: int = 4

    @property
    def label(self) -> str:
        """As findings and pictures call it."""
        return "IPv6 path MTU" if self.family == 6 else "path MTU"


@dataclass(frozen=True)
class DnsAnswer:
    """One question to one resolver. kind: `cluster` or `outside`; way: udp or tcp."""

    source: str
    server: str
    name: str
    kind: str
    way: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True)
class Probes:
    """What the agents saw. pairs: (source, target) asked; seed: of the sample, or None."""

    flows: tuple[Flow, ...] = ()
    mtus: tuple[PathMtu, ...] = ()
    dns: tuple[DnsAnswer, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    uses: Mapping[tuple[str, int], str] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True)
class Backup:
    """A copy of the CNI's configuration here. problems: why it could not be restored; objects:
    how many of the cluster's it holds."""

    path: str
    taken: datetime | None = None
    hosts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    objects: int = 0


@dataclass(frozen=True)
class ClusterView:
    """What the API server told. error: why it told nothing, or ""; names: of definitions and
    workloads; coredns: `read` when its metrics were, else why not."""

    error: str = ""
    names: tuple[str, ...] = ()
    coredns: str = ""


@dataclass(frozen=True)
class Scene:
    """The subject of every check.

    change: what it is for, or ""; now: when it was looked at; cluster: None when no node belongs
    to one yet.
    """

    hosts: Mapping[str, Host]
    probes: Probes = Probes()
    backup: Backup | None = None
    change: str = ""
    now: datetime | None = None
    cluster: ClusterView | None = None

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    def read(self) -> Iterator[tuple[Host, Node]]:
        """The hosts that were read, with what they said."""
        return ((host, host.facts) for host in self if host.facts is not None)

    @property
    def network(self) -> Network:
        """The first host's section; a rule holds the shared keys equal on every host."""
        return next(iter(self)).network
