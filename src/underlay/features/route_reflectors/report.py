"""What a plan costs and survives: sessions and routes, the mesh against reflectors. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from underlay.features.route_reflectors import plan, selector
from underlay.features.route_reflectors.plan import State
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.route_reflectors.spread import Graph
from underlay.features.route_reflectors.topology import Layout


def report(
    settings: RouteReflectors, now: Layout, state: State, target: State, *, blocks: int = 1
) -> dict[str, Any]:
    """The plan as docs/schemas/route-reflectors.json has it.

    now, state: the layout that a change starts from, and ours of it; blocks: pod blocks per node.
    """
    after = plan.applied(now, state, target, settings.label)
    mesh = plan.applied(now, state, State(mesh=True), settings.label)
    graph = Graph.of(after)
    reflectors = [node.name for node in after.nodes if node.cluster_id]
    return {
        "version": 1,
        "nodes": len(after.nodes),
        "blocks_per_node": blocks,
        "as_number": after.as_number,
        "node_to_node_mesh": after.mesh,
        "groups": [
            {
                "name": name, "cluster_id": group.cluster_id,
                "reflectors": sorted(n for n, m in target.marks.items() if m.label == name),
                "clients": _clients(after, target, name),
            }
            for name, group in settings.groups.items()
            if settings.wanted
        ],
        "peers": [{"name": name, "spec": dict(spec)} for name, spec in target.peers.items()],
        "mesh": cost(mesh, blocks),
        "planned": cost(after, blocks),
        "cut_off": _cut_off(graph),
        "cut_off_while_down": {name: _cut_off(graph, name) for name in reflectors},
        "changes": list(changes(plan.change(state, target))),
    }  # fmt: skip


def _clients(layout: Layout, target: State, group: str) -> int:
    """How many nodes peer with this group's reflectors as clients."""
    spec = target.peers.get(f"{plan.OURS}{group}", {})
    match = selector.parse(str(spec.get("nodeSelector", "")))
    return sum(1 for node in layout.nodes if match(node.labels)) if spec else 0


def cost(layout: Layout, blocks: int) -> dict[str, int]:
    """Sessions and routes of a layout, for the busiest node of each kind.

    Copies are counted with every router passing its first path on.
    """
    graph = Graph.of(layout)
    sessions = {name: len(ends) for name, ends in layout.sessions().items()}
    told: Counter[str] = Counter()
    routes: Counter[str] = Counter()
    updates = 0
    for origin in graph.peers:
        reached = graph.spread(origin)
        told.update(reached)
        routes.update(reached.keys())
        updates = max(updates, sum(reached.values()))
    reflectors = {node.name for node in layout.nodes if node.cluster_id}
    others = set(sessions) - reflectors
    return {
        "sessions": sum(len(peers) for peers in graph.peers.values()) // 2
        + sum(1 for ends in layout.sessions().values() for s in ends if not s.peer),
        "sessions_per_node": _most(sessions, others),
        "sessions_per_reflector": _most(sessions, reflectors),
        "routes_per_node": _most(routes, set(sessions)) * blocks,
        "copies_per_node": _most(told, others) * blocks,
        "copies_per_reflector": _most(told, reflectors) * blocks,
        "copies": sum(told.values()) * blocks,
        "updates_per_change": updates,
    }


def _most(found: Mapping[str, int], names: set[str]) -> int:
    return max((found[name] for name in names if name in found), default=0)


def _cut_off(graph: Graph, *down: str) -> list[str]:
    """Nodes that miss a route of another one."""
    cut = graph.cut_off(down)
    return sorted({name for others in cut.values() for name in others})


def changes(found: plan.Change) -> Iterator[str]:
    """What the deploy would write, one line each, in its order."""
    if found.rearranges:
        yield "nodeToNodeMeshEnabled: true until the rest is proved"
    for name in found.nodes:
        yield f"{name}: cordon, sessions drop"
    for name, mark in found.gain.items():
        yield f"{name}: cluster id {mark.cluster_id}, label {mark.label}"
    yield from (f"BGPPeer {name}: write" for name in found.put)
    yield from (f"BGPPeer {name}: delete" for name in found.drop)
    yield from (f"{name}: no cluster id, no label" for name in found.lose)
    if found.mesh:
        yield "nodeToNodeMeshEnabled: switched last"
