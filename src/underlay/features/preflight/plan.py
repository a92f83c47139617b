"""Who probes whom: the flows of every node, and their sample above a number of nodes. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from underlay.features.calls import Call
from underlay.features.preflight.ports import CONTROL_PLANE, EVERYONE, Use, etcd_members

#: Size of a small datagram's payload.
SMALL = 64


def udp_overhead(address: str) -> int:
    """What IP and UDP put around the payload of a datagram from this address."""
    return 48 if ":" in address else 28


@dataclass(frozen=True)
class Target:
    """One node as others reach it.

    second: its IPv6 address in dual stack, or ""; beneath, beneath_mtu: where tunnels reach it, ""
    and 0 for the same; own: every address on its interfaces; waits: its node address is on an
    overlay that is not up, so that only the overlay itself can be tried.
    """

    name: str
    address: str
    mtu: int
    second: str = ""
    beneath: str = ""
    beneath_mtu: int = 0
    own: frozenset[str] = frozenset()
    waits: bool = False


@dataclass(frozen=True)
class Plan:
    """What every node listens on and asks. Flows are (source, target) by use.

    seed: of the sample, None when every pair is asked.
    """

    targets: Mapping[str, Target]
    uses: tuple[Use, ...]
    pairs: tuple[tuple[str, str], ...]
    members: Mapping[str, frozenset[str]]
    seed: int | None

    def flows(self, source: str) -> Iterator[tuple[Use, str]]:
        """What one node asks, and of whom."""
        peers = [target for one, target in self.pairs if one == source]
        for use in self.uses:
            if use.calls:
                mine = {call.target for call in use.calls if call.source == source}
                mine -= {call.target for call in self.untried(use) if call.source == source}
                yield from ((use, p) for p in peers if p in mine and self._up(use, source, p))
            elif source in self.members[use.sources]:
                yield from (
                    (use, peer)
                    for peer in peers
                    if peer in self.members[use.targets] and self._up(use, source, peer)
                )

    def _up(self, use: Use, source: str, target: str) -> bool:
        return use.beneath or not (self.targets[source].waits or self.targets[target].waits)

    def place(self, use: Use, source: str, target: str) -> tuple[str, int] | None:
        """Where a use goes that does not go to the node address; None for those that do."""
        call, there = use.call(source, target), self.targets[target]
        if call is None or not use.beneath:
            return None
        found = (call.address or there.beneath or there.address, call.port or use.port)
        return None if found == (there.address, use.port) else found

    def hears(self, name: str) -> dict[tuple[str, int], str]:
        """Protocol and port -> the address to listen on, where that is not the node address.

        One that is on no interface is a NAT's, which sends on to the address beneath; every
        address where sections name several.
        """
        found = {}
        node = self.targets[name]
        for use in (use for use in self.uses if use.beneath):
            called = {call.address for call in use.calls if call.target == name}
            own = {text if text in node.own else node.beneath or node.address for text in called}
            if own and own != {node.address}:
                several = "::" if ":" in node.address else "0.0.0.0"  # noqa: S104 - see above
                found[use.protocol, use.port] = own.pop() if len(own) == 1 else several
        return found

    def untried(self, use: Use) -> list[Call]:
        """Calls between these nodes that no probe can stand for."""
        there = self.targets.keys()
        return [c for c in use.calls if c.untried and c.source in there and c.target in there]

    def listens(self, name: str) -> list[tuple[str, int]]:
        """Protocol and port that this node must answer on."""
        found = (
            (use.protocol, use.port)
            for use in self.uses
            if name in self.members[use.targets] or any(name == c.target for c in use.calls)
        )
        return list(dict.fromkeys(found))


def plan(
    targets: Mapping[str, Target],
    uses: Sequence[Use],
    groups: Mapping[str, Sequence[str]],
    *,
    mesh_up_to: int,
    sample: int,
    seed: int,
) -> Plan:
    """Every pair up to `mesh_up_to` nodes; above it O(n*k) pairs chosen by `seed`.

    What a section names is asked in any case: whether a node reaches its hub is no matter of
    chance.
    """
    names = list(targets)
    beneath = {(c.source, c.target) for use in uses if use.beneath for c in use.calls}
    members = {
        group: frozenset(
            names if group == EVERYONE else (n for n in groups.get(group, ()) if n in targets)
        )
        for use in uses
        for group in (use.sources, use.targets)
    }
    if len(names) <= mesh_up_to:
        every = _up(targets, beneath, [(a, b) for a in names for b in names if a != b])
        return Plan(targets, tuple(uses), every, members, None)
    chosen = _sampled(names, groups, sample, random.Random(seed))  # noqa: S311 - not a secret
    calls = {(c.source, c.target) for use in uses for c in use.calls}
    order = {name: number for number, name in enumerate(names)}
    chosen = tuple(
        sorted(
            {*chosen, *(pair for pair in calls if set(pair) <= order.keys())},
            key=lambda pair: (order[pair[0]], order[pair[1]]),
        )
    )
    return Plan(targets, tuple(uses), _up(targets, beneath, chosen), members, seed)


Pair = tuple[str, str]


def _up(
    targets: Mapping[str, Target], beneath: Collection[Pair], pairs: Iterable[Pair]
) -> tuple[Pair, ...]:
    """Without pairs that only an overlay will join, which is not up."""
    return tuple(
        (one, other)
        for one, other in pairs
        if not (targets[one].waits or targets[other].waits)
        or (one, other) in beneath
        or (other, one) in beneath
    )


def _sampled(
    names: Sequence[str], groups: Mapping[str, Sequence[str]], sample: int, chance: random.Random
) -> tuple[tuple[str, str], ...]:
    """Each etcd pair, each node and the control plane both ways, and k random peers per node."""
    known = set(names)
    control = [name for name in groups.get(CONTROL_PLANE, ()) if name in known]
    etcd = [name for name in groups.get(etcd_members(groups), ()) if name in known]
    found: dict[tuple[str, str], None] = {}
    for one in etcd:
        found.update(dict.fromkeys((one, other) for other in etcd if other != one))
    for name in names:
        for leader in control:
            if leader != name:
                found[(name, leader)] = found[(leader, name)] = None
        others = [other for other in names if other != name]
        found.update(
            dict.fromkeys((name, o) for o in chance.sample(others, min(sample, len(others))))
        )
    return tuple(found)
