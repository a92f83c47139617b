"""What the Kubernetes API says about nodes and BGP, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from underlay.cluster import Api
from underlay.cluster.objects import NODE
from underlay.errors import ClusterError
from underlay.features.route_reflectors import plan
from underlay.features.route_reflectors.plan import Mark, State
from underlay.features.route_reflectors.store import Store
from underlay.features.route_reflectors.topology import DEFAULT_AS, Layout, Node, as_number


@dataclass(frozen=True)
class View:
    """The cluster now.

    state: what of it is ours to change; ready: nodes that are Ready; schedulable: nodes that take
    pods; every: names of all nodes, those without BGP too.
    """

    layout: Layout
    state: State
    ready: frozenset[str]
    schedulable: frozenset[str]
    every: frozenset[str]


def read(api: Api, store: Store, label: str) -> View:
    """Ask for the nodes, the peers and the configuration: three requests."""
    found = api.list(NODE)
    peers = store.peers()
    configuration = store.configuration()
    nodes = [node for node in map(_node, found) if node.addresses]
    marks = {
        node.name: Mark(node.cluster_id or None, node.labels.get(label))
        for node in nodes
        if node.cluster_id or label in node.labels
    }
    # absent means on
    mesh = configuration.get("nodeToNodeMeshEnabled") is not False
    number = _number(configuration.get("asNumber") or DEFAULT_AS, "BGPConfiguration default")
    for name, spec in peers.items():
        # before a plan is made of it
        _number(spec.get("asNumber") or number, f"BGPPeer {name}")
    ours = {name: spec for name, spec in peers.items() if name.startswith(plan.OURS)}
    return View(
        layout=Layout(tuple(nodes), mesh, number, peers),
        state=State(mesh, marks, ours),
        ready=frozenset(_name(node) for node in found if _is_ready(node)),
        schedulable=frozenset(
            _name(node) for node in found if not (node.get("spec") or {}).get("unschedulable")
        ),
        every=frozenset(_name(node) for node in found),
    )


def _name(node: Mapping[str, Any]) -> str:
    return str(node["metadata"]["name"])


def _node(found: Mapping[str, Any]) -> Node:
    meta = found["metadata"]
    notes = meta.get("annotations") or {}
    number = str(notes.get(plan.AS_NUMBER) or "")
    return Node(
        name=_name(found),
        addresses=tuple(
            str(notes[key]).partition("/")[0] for key in plan.ADDRESSES if notes.get(key)
        ),
        labels=dict(meta.get("labels") or {}),
        cluster_id=str(notes.get(plan.ID) or ""),
        as_number=_number(number, f"{_name(found)}: {plan.AS_NUMBER}") if number else None,
    )


def _number(found: object, where: str) -> int:
    try:
        return as_number(found)
    except ValueError as error:
        raise ClusterError(f"{where}: {error}; correct it, Calico cannot read it either") from error


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
