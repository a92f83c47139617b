"""Where routes go through a layout of BGP sessions, by RFC 4456. Pure.

Every router passes its first path on and no other; Calico's BIRD adds paths where it can, so that
the copies it holds are at least these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from underlay.features.route_reflectors.topology import Layout


@dataclass
class Graph:
    """Sessions that both ends have, as sets.

    peers: node to the nodes it has a session with; clients: reflector to those it reflects to;
    cluster: node to its cluster id, "" for none; number: node to its AS number.
    """

    peers: dict[str, set[str]] = field(default_factory=dict)
    clients: dict[str, set[str]] = field(default_factory=dict)
    cluster: dict[str, str] = field(default_factory=dict)
    number: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: Layout) -> Graph:
        """The graph of a layout."""
        sessions = layout.sessions()
        named = {node: {s.peer for s in ends if s.peer} for node, ends in sessions.items()}
        return cls(
            peers={
                node: {peer for peer in others if node in named[peer]}
                for node, others in named.items()
            },
            clients={
                node: {s.peer for s in ends if s.client and s.peer}
                for node, ends in sessions.items()
            },
            cluster={node.name: node.cluster_id for node in layout.nodes},
            number={node.name: layout.of(node) for node in layout.nodes},
        )

    def spread(self, origin: str, down: Collection[str] = ()) -> dict[str, int]:
        """The nodes that a route of `origin` reaches, each with the copies that it is told."""
        told: dict[str, int] = {}
        waiting: list[tuple[str, str, frozenset[str]]] = [(origin, "", frozenset())]
        while waiting:
            following = []
            for holder, source, clusters in waiting:
                own = self.cluster[holder]
                passed = clusters | {own} if own and source else clusters
                for other in self._onwards(holder, source):
                    if other in (origin, source) or other in down or self.cluster[other] in passed:
                        continue
                    if other not in told:
                        following.append((other, holder, passed))
                    told[other] = told.get(other, 0) + 1
            waiting = following
        return told

    def _onwards(self, holder: str, source: str) -> Iterator[str]:
        """To whom a node passes on what it has from `source`, "" for its own routes."""
        everybody = not source or self.number[holder] != self.number[source]
        if everybody or source in self.clients[holder]:
            yield from self.peers[holder]
            return
        yield from self.clients[holder] & self.peers[holder]

    def cut_off(self, down: Collection[str] = ()) -> dict[str, frozenset[str]]:
        """Node to those that miss its routes while `down` are down; empty when all is well."""
        there = frozenset(self.peers) - set(down)
        found = {}
        for origin in sorted(there):
            missing = there - {origin} - self.spread(origin, down).keys()
            if missing:
                found[origin] = missing
        return found
