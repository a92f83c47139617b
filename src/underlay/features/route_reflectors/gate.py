"""Whether every node has the sessions it should have and the routes it had. Pure.

The rule: a session that should be gone and is still there fails a gate as well. Until BIRD has
taken the change up, its routes are those of before and prove nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from underlay.facts.bird import ESTABLISHED, Reading
from underlay.features.route_reflectors.topology import Layout

Readings = Mapping[str, Reading | None]


@dataclass(frozen=True)
class Baseline:
    """The routes of every node before the first change, kept small: nearly all nodes have all.

    every: all destinations; outside: those of them that no node announced itself; lacks: node to
    those that it did not have; idle: node to addresses of peers whose session was not Established.
    """

    every: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    lacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    idle: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, node: str) -> frozenset[str]:
        """What a node had; nothing when it was not there."""
        if node not in self.lacks:
            return frozenset()
        return frozenset(self.every) - frozenset(self.lacks[node])

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it: numbers instead of destinations."""
        place = {net: number for number, net in enumerate(self.every)}
        lacks = {node: [place[net] for net in nets] for node, nets in self.lacks.items()}
        outside = [place[net] for net in self.outside]
        idle = {node: list(addresses) for node, addresses in self.idle.items()}
        return {"every": list(self.every), "outside": outside, "lacks": lacks, "idle": idle}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Baseline:
        """The other way; KeyError, IndexError and TypeError on nonsense."""
        every = tuple(found["every"])
        lacks = {node: tuple(every[n] for n in numbers) for node, numbers in found["lacks"].items()}
        outside = tuple(every[number] for number in found["outside"])
        return cls(every, outside, lacks, {n: tuple(a) for n, a in found["idle"].items()})


def baseline(readings: Readings, layout: Layout) -> Baseline:
    """What the nodes have now."""
    there = {name: found for name, found in readings.items() if found is not None}
    every = frozenset[str]().union(*(found.learned for found in there.values()))
    named = _wanted(layout)
    idle = {
        name: tuple(sorted(
            address for address in named.get(name, {})
            if found.sessions.get(address) != ESTABLISHED
        ))
        for name, found in there.items()
    }  # fmt: skip
    return Baseline(
        every=tuple(sorted(every)),
        outside=tuple(sorted(every - _owned(there))),
        lacks={name: tuple(sorted(every - found.learned)) for name, found in there.items()},
        idle={name: addresses for name, addresses in idle.items() if addresses},
    )


def complaints(
    layout: Layout,
    readings: Readings,
    before: Baseline,
    *,
    without: Collection[str] = (),
    new: Collection[str] = (),
) -> list[str]:
    """What is not as it should be, one sentence per node.

    without: nodes that need not prove anything; new: addresses whose sessions must come up even if
    they were not Established before.
    """
    # a block that a node announced and none does any more was given back, not lost
    owned = _owned(readings)
    returned = frozenset(before.every) - frozenset(before.outside) - owned
    members = {address for node in layout.nodes for address in node.addresses}
    out = {a for node in layout.nodes if node.name in without for a in node.addresses}
    found = []
    for name, wanted in _wanted(layout).items():
        if name in without:
            continue
        reading = readings.get(name)
        if reading is None:
            found.append(f"{name}: nothing tells its sessions; is calico-node running there?")
            continue
        excused = out | (set(before.idle.get(name, ())) - set(new))
        parts = [*_sessions(wanted, reading, excused, members - out)]
        missing = before.of(name) - returned - reading.learned - reading.own
        if missing:
            had = len(before.of(name))
            parts.append(f"{len(missing)} of {had} routes are missing, as {min(missing)}")
        if parts:
            found.append(f"{name}: {'; '.join(parts)}")
    return found


def _owned(readings: Readings) -> frozenset[str]:
    return frozenset[str]().union(*(found.own for found in readings.values() if found is not None))


def _sessions(
    wanted: Mapping[str, str], reading: Reading, excused: Collection[str], members: Collection[str]
) -> Iterator[str]:
    due = [address for address in wanted if address not in excused]
    silent = [a for a in due if reading.sessions.get(a) != ESTABLISHED]
    if silent:
        state = reading.sessions.get(silent[0], "not there")
        peer = f"{silent[0]} ({wanted[silent[0]]})" if wanted[silent[0]] else silent[0]
        yield f"{len(due) - len(silent)} of {len(due)} sessions are Established, {peer} is {state}"
    extra = [a for a in reading.sessions if a in members and a not in wanted]
    if extra:
        yield f"still has the session with {extra[0]} (of {len(extra)}) that is to go"


def _wanted(layout: Layout) -> dict[str, dict[str, str]]:
    """Node to addresses of its peers, with their names."""
    return {
        name: {session.address: session.peer for session in ends}
        for name, ends in layout.sessions().items()
    }
