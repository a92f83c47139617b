"""What advice is given about, and what it says. Pure.

The rule: what is not known is None and is told as such; advice never rests on a guess about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from underlay.addressing.mtu import Hop


class Need(str, Enum):
    """What a cluster is meant for, besides its size."""

    NETWORK_POLICY = "network-policy"
    ENCRYPTION = "encryption"
    THROUGHPUT = "throughput"
    SIMPLE = "simple"
    MULTI_CLUSTER = "multi-cluster"
    LOCALHOST_NODEPORT = "localhost-nodeport"


class Verdict(str, Enum):
    """How what is there and what is advised lie to each other."""

    KEEP = "keep"
    CHOOSE = "choose"
    CHANGE = "change"
    CONSIDER = "consider"


@dataclass(frozen=True)
class Source:
    """Where an advice comes from; judgement of ours is called so."""

    title: str
    where: str


@dataclass(frozen=True)
class Situation:
    """The cluster as far as it is known.

    nodes: hosts of the inventory, or as many as are planned; services: of the cluster; kubernetes
    and kernel: (major, minor), the kernel being the oldest node's; mode: kube-proxy's, as it runs;
    cni: `none` before one is chosen; one_network: whether all nodes are in one subnet; reflectors,
    control_plane, workers: names; reflector_groups: as the inventory has them; beneath: what lies
    under the CNI on the narrowest node; transport: the overlay it lies on; esp: what the section
    `ipsec` puts on that path and `network` does not say; profiles: of sysctl; old_kernels: nodes
    below nftables' floor; dependent: mode -> what else depends on it; aligned: mode -> section ->
    settings that must agree with it; notes: what could not be asked, and why.
    """

    nodes: int
    services: int | None = None
    kubernetes: tuple[int, int] | None = None
    kernel: tuple[int, int] | None = None
    mode: str | None = None
    cni: str = "none"
    encapsulation: str = "vxlan"
    bgp: bool = False
    mtu: int = 1500
    tunnel: bool = False
    dual_stack: bool = False
    one_network: bool | None = None
    max_pods: int = 110
    reflectors: tuple[str, ...] = ()
    control_plane: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    needs: frozenset[Need] = frozenset()
    reflector_groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    beneath: tuple[Hop, ...] = ()
    transport: str | None = None
    esp: Mapping[str, Any] | None = None
    profiles: tuple[str, ...] = ()
    old_kernels: tuple[str, ...] = ()
    dependent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aligned: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advice:
    """One choice.

    now: what is there, or ""; choose: in a word; why: sentences; against: what speaks against it or
    must be done first; settings: section -> values, as group_data/all.py takes them; groups: of the
    inventory -> names.
    """

    id: str
    title: str
    verdict: Verdict
    now: str
    choose: str
    why: tuple[str, ...]
    sources: tuple[Source, ...]
    against: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def verdict(now: str, choose: str) -> Verdict:
    """Keep what is there, change it, or choose where nothing is yet."""
    if not now:
        return Verdict.CHOOSE
    return Verdict.KEEP if now == choose else Verdict.CHANGE
