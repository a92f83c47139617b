"""From settings to Calico objects, and from what is there to what has to change. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.route_reflectors.topology import DEFAULT_AS, Layout, Node

#: The folder of our journal.
CHANGE = "route_reflectors"
#: What Calico reads a node's cluster id and AS number from (libcalico-go, k8s node conversion).
ID = "projectcalico.org/RouteReflectorClusterID"
AS_NUMBER = "projectcalico.org/ASNumber"
ADDRESSES = ("projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address")
#: A label that the kubelet sets.
HOSTNAME = "kubernetes.io/hostname"
#: BGPPeers whose names start so are ours.
OURS = "underlay-rr-"

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Mark:
    """What makes a node a reflector: its cluster id and the value of our label, None for none."""

    cluster_id: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class State:
    """What decides about sessions, as it is or as it should be.

    mesh: nodeToNodeMeshEnabled; marks: nodes that have a cluster id or our label; peers: our
    BGPPeers by name.
    """

    mesh: bool
    marks: Mapping[str, Mark] = field(default_factory=dict)
    peers: Mapping[str, Spec] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        marks = {name: [mark.cluster_id, mark.label] for name, mark in self.marks.items()}
        return {"mesh": self.mesh, "marks": marks, "peers": dict(self.peers)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> State:
        """The other way; KeyError and TypeError on nonsense."""
        marks = {name: Mark(*mark) for name, mark in found["marks"].items()}
        return cls(bool(found["mesh"]), marks, dict(found["peers"]))


def wanted(settings: RouteReflectors, node_of: Mapping[str, str]) -> State:
    """What the inventory asks for; node_of: host to its node."""
    if not settings.wanted:
        return State(mesh=True)
    marks = {
        node_of.get(host, host): Mark(group.cluster_id, name)
        for name, group in settings.groups.items()
        for host in group.reflectors
    }
    return State(mesh=False, marks=marks, peers=dict(_peers(settings)))


def _peers(settings: RouteReflectors) -> Iterator[tuple[str, Spec]]:
    label = settings.label
    for name, group in settings.groups.items():
        # by label: `!has(routeReflectorClusterID)` would look for a label of that name, find it
        # on no node, and make every reflector a client as well
        clients = f"!has({label})"
        if group.clients.strip() != "all()":
            clients = f"({group.clients}) && {clients}"
        yield f"{OURS}{name}", {"nodeSelector": clients, "peerSelector": f"{label} == '{name}'"}
    if sum(len(set(group.reflectors)) for group in settings.groups.values()) > 1:
        yield f"{OURS}reflectors", {
            "nodeSelector": f"has({label})", "peerSelector": f"has({label})",
        }  # fmt: skip
    for name, router in settings.routers.items():
        groups = ", ".join(f"'{group}'" for group in router.groups)
        spec: dict[str, Any] = {
            "nodeSelector": f"{label} in {{{groups}}}" if groups else f"has({label})",
            "peerIP": router.address,
            "asNumber": router.as_number,
        }
        if router.password is not None:
            reference = {"name": router.password.name, "key": router.password.key}
            spec["password"] = {"secretKeyRef": reference}
        yield f"{OURS}router-{name}", spec


@dataclass(frozen=True)
class Change:
    """What leads from one state to another.

    gain, lose: nodes that become, and cease to be, reflectors (one whose id changes does neither
    but is in gain); put, drop: BGPPeers; mesh: whether it is switched at the end.
    """

    gain: Mapping[str, Mark]
    lose: tuple[str, ...]
    put: Mapping[str, Spec]
    drop: tuple[str, ...]
    mesh: bool

    def __bool__(self) -> bool:
        return bool(self.gain or self.lose or self.put or self.drop or self.mesh)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes whose sessions drop."""
        return (*self.gain, *self.lose)

    @property
    def rearranges(self) -> bool:
        """Whether sessions of reflectors change, not only the mesh."""
        return bool(self.gain or self.lose or self.put or self.drop)


def change(now: State, target: State) -> Change:
    """What has to be written to come from `now` to `target`.

    A node with a cluster id and without our label is somebody else's reflector, and stays one.
    """
    return Change(
        gain={n: mark for n, mark in target.marks.items() if now.marks.get(n) != mark},
        lose=tuple(n for n, mark in now.marks.items() if mark.label and n not in target.marks),
        put={n: spec for n, spec in target.peers.items() if now.peers.get(n) != spec},
        drop=tuple(n for n in now.peers if n not in target.peers),
        mesh=now.mesh != target.mesh,
    )


def applied(layout: Layout, now: State, target: State, label: str) -> Layout:
    """The layout after a change: other peers and labels stay as they are."""
    lost = change(now, target).lose
    nodes = []
    for node in layout.nodes:
        if node.name in target.marks or node.name in lost:
            mark = target.marks.get(node.name, Mark())
            labels = {key: text for key, text in node.labels.items() if key != label}
            if mark.label is not None:
                labels[label] = mark.label
            nodes.append(replace(node, cluster_id=mark.cluster_id or "", labels=labels))
        else:
            nodes.append(node)
    foreign = {name: spec for name, spec in layout.peers.items() if name not in now.peers}
    peers = {**foreign, **target.peers}
    return replace(layout, nodes=tuple(nodes), mesh=target.mesh, peers=peers)


def imagined(settings: RouteReflectors, names: Sequence[str], count: int = 0) -> Layout:
    """A mesh of these nodes before any change, without asking anybody; addresses are made up.

    count: further nodes are made up until there are so many.
    """
    more = (f"node-{number}" for number in range(1, count - len(names) + 1))
    nodes = [
        Node(name, (f"192.0.2.{number}",), {HOSTNAME: name})
        for number, name in enumerate([*names, *more])
    ]
    return Layout(tuple(nodes), mesh=True, as_number=settings.as_number or DEFAULT_AS, peers={})
