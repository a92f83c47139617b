"""What refuses a conversion before anything changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from underlay.cluster.drain import Pod
from underlay.features.route_reflectors import plan
from underlay.features.route_reflectors.plan import State
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.route_reflectors.spread import Graph
from underlay.features.route_reflectors.topology import Layout
from underlay.features.route_reflectors.view import View


def refusals(
    settings: RouteReflectors, view: View, target: State, pods: Mapping[str, Sequence[Pod]]
) -> list[str]:
    """One sentence each; pods: node whose sessions will drop to what runs there."""
    found = [*_nodes(settings, view, target), *_number(settings, view), *_loaded(settings, pods)]
    if not found:
        layout = plan.applied(view.layout, view.state, target, settings.label)
        found += _reach(settings, view, layout)
    return found


def _nodes(settings: RouteReflectors, view: View, target: State) -> Iterator[str]:
    bgp = {node.name for node in view.layout.nodes}
    for name in target.marks:
        if name not in view.every:
            yield (
                f"{name}: no node of that name in the cluster; correct the host's"
                " kube_proxy.node_name, or route_reflectors"
            )
        elif name not in bgp:
            yield f"{name}: Calico runs no BGP there; see the log of its calico-node"
    for node in view.layout.nodes:
        if node.name not in view.ready and node.name not in settings.without:
            yield (
                f"{node.name}: is not Ready, so its routes cannot be proved; bring it back, delete"
                " it, or name it in route_reflectors.without"
            )


def _number(settings: RouteReflectors, view: View) -> Iterator[str]:
    if settings.as_number not in (None, view.layout.as_number):
        yield (
            f"route_reflectors.as_number: the cluster's is {view.layout.as_number} (got"
            f" {settings.as_number}), and another one would end every session at once; correct it"
        )


def _loaded(settings: RouteReflectors, pods: Mapping[str, Sequence[Pod]]) -> Iterator[str]:
    if settings.loaded == "accept":
        return
    for node, found in pods.items():
        fixed = [pod for pod in found if pod.why] if not settings.delete_local_data else []
        if found and settings.loaded == "refuse":
            yield (
                f"{node}: runs {len(found)} pods, as {_name(found[0])}; its sessions drop for"
                " seconds, so drain it, or set route_reflectors.loaded to drain or accept"
            )
        elif fixed:
            yield (
                f"{node}: cannot be drained, for {_name(fixed[0])} (of {len(fixed)}) would not"
                f" come back whole: {fixed[0].why}; set route_reflectors.delete_local_data or move"
                " it"
            )


def _name(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name}"


def _reach(settings: RouteReflectors, view: View, layout: Layout) -> Iterator[str]:
    """Every node must have every route, and keep it when any one reflector is down."""
    graph = Graph.of(layout)
    # a node that is cut off now already is not this change's doing
    known = Graph.of(view.layout).cut_off()
    cut = {name: others for name, others in graph.cut_off().items() if name not in known}
    if cut:
        yield _cut(cut, "with these reflectors")
        return
    if settings.allow_single or layout.mesh:
        return
    for node in layout.nodes:
        if node.cluster_id:
            cut = graph.cut_off([node.name])
            cut = {name: others for name, others in cut.items() if name not in known}
            if cut:
                yield _cut(cut, f"while {node.name} is down")
                return


def _cut(cut: Mapping[str, frozenset[str]], when: str) -> str:
    name, others = next(iter(cut.items()))
    return (
        f"{name}: {when} its routes would not reach {min(others)} (of {len(others)}); make it a"
        " client of a group, or say what is missing in route_reflectors.groups"
    )
