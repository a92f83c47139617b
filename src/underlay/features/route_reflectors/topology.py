"""Which BGP sessions a set of Calico objects means. Pure.

Follows what Calico renders for BIRD: confd/pkg/backends/calico/client.go (peers by selector, and
their way back) and confd's bird.cfg.template (mesh, reflector clients).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Literal

from underlay.features.route_reflectors import selector

#: What Calico uses where nothing says otherwise.
DEFAULT_AS = 64512

#: The specs of BGPPeer objects by name.
Peers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Node:
    """One node as BGP sees it.

    addresses: IPv4 first; cluster_id: "" when it is no reflector; as_number: None for the
    cluster's.
    """

    name: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str]
    cluster_id: str = ""
    as_number: int | None = None


@dataclass(frozen=True)
class Session:
    """One end of a BGP session.

    peer: name of the node at the other end, "" for a router that is none; client: this end
    reflects to it.
    """

    address: str
    peer: str
    kind: Literal["mesh", "node", "router"]
    as_number: int
    client: bool = False


@dataclass(frozen=True)
class Layout:
    """What the objects say: nodes, whether the mesh is on, the cluster's AS number, peers."""

    nodes: tuple[Node, ...]
    mesh: bool
    as_number: int
    peers: Peers

    def sessions(self) -> dict[str, tuple[Session, ...]]:
        """Node to its ends of sessions; an address that two rules name is one session."""
        found: dict[str, dict[str, Session]] = {node.name: {} for node in self.nodes}
        for name, session in self._each():
            # a peer that an object names stands above the mesh, which has nothing to say of it
            if session.kind != "mesh" or session.address not in found[name]:
                found[name][session.address] = session
        return {name: tuple(sessions.values()) for name, sessions in found.items()}

    def _each(self) -> Iterator[tuple[str, Session]]:
        if self.mesh:
            members = [node for node in self.nodes if not node.cluster_id]
            for node, other in product(members, members):
                yield from self._ends(node, other, "mesh")
        match = _matcher(self.nodes)
        for spec in self.peers.values():
            here: Sequence[Node] = match(spec.get("nodeSelector") or "")
            if spec.get("node"):
                here = [node for node in self.nodes if node.name == spec["node"]]
            if spec.get("peerSelector"):
                yield from self._to_nodes(here, match(spec["peerSelector"]), spec)
            elif spec.get("peerIP"):
                yield from self._to_address(here, spec)

    def _to_nodes(
        self, here: Sequence[Node], there: Sequence[Node], spec: Mapping[str, Any]
    ) -> Iterator[tuple[str, Session]]:
        for node, other in product(here, there):
            yield from self._ends(node, other, "node")
            if spec.get("reversePeering") != "Manual":
                yield from self._ends(other, node, "node")

    def _to_address(
        self, here: Sequence[Node], spec: Mapping[str, Any]
    ) -> Iterator[tuple[str, Session]]:
        address = bare(str(spec["peerIP"]))
        number = as_number(spec.get("asNumber") or self.as_number)
        peer = next((node for node in self.nodes if address in node.addresses), None)
        for node in here:
            if address in node.addresses:
                continue
            if peer is None:
                client = bool(node.cluster_id) and number == self.of(node)
                yield node.name, Session(address, "", "router", number, client)
            else:
                yield from self._ends(node, peer, "node")
                yield from self._ends(peer, node, "node")

    def _ends(
        self, node: Node, other: Node, kind: Literal["mesh", "node"]
    ) -> Iterator[tuple[str, Session]]:
        if node is other:
            return
        number = self.of(other)
        client = (
            bool(node.cluster_id)
            and number == self.of(node)
            and other.cluster_id != node.cluster_id
        )
        own = {":" in address for address in node.addresses}
        for address in other.addresses:
            if (":" in address) in own:
                yield node.name, Session(address, other.name, kind, number, client)

    def of(self, node: Node) -> int:
        """The AS number of a node."""
        return node.as_number or self.as_number


def as_number(found: object) -> int:
    """A number, or two halves as `1.10` (RFC 5396); ValueError names what is neither."""
    high, dot, low = str(found).strip().partition(".")
    if not high.isdecimal() or (dot and not low.isdecimal()):
        raise ValueError(f"no AS number: {found!r}")
    return int(high) * 65536 + int(low) if dot else int(high)


def bare(address: str) -> str:
    """An address without the port of `192.0.2.1:179` or `[2001:db8::1]:179`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _matcher(nodes: Sequence[Node]) -> Callable[[str], tuple[Node, ...]]:
    """Selector to the nodes that it matches; each is evaluated once."""

    @cache
    def match(text: str) -> tuple[Node, ...]:
        wanted = selector.parse(text)
        return tuple(node for node in nodes if wanted(node.labels))

    return match
