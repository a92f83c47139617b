"""Route reflectors and kernel tables, which follow from the number of nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from underlay.advice import knowledge as k
from underlay.advice.model import Advice, Situation, Verdict

#: An address as a name; the older 224.0.0.1 is a multicast address, which some daemons refuse.
CLUSTER_ID = "244.0.0.1"


def reflectors(found: Situation, cni: str, bgp: bool) -> Iterator[Advice]:
    """How many reflectors, where BGP runs at all."""
    if cni != "calico" or not (bgp or found.reflectors):
        return
    count = wanted(found.nodes)
    now = f"{len(found.reflectors)} reflectors" if found.reflectors else "full mesh"
    if count == 0:
        sessions = found.nodes * (found.nodes - 1) // 2
        why = f"{found.nodes} nodes are {sessions} sessions, {found.nodes - 1} on each node."
        choose = now if found.reflectors else "full mesh"
        yield Advice(
            "reflectors", "BGP route reflectors", Verdict.KEEP, now, choose, (why,), (k.CALICO_BGP,)
        )
        return
    choose = f"{count} reflectors"
    if len(found.reflectors) >= count:
        why = "One may fail and every node keeps its routes."
        yield Advice(
            "reflectors", "BGP route reflectors", Verdict.KEEP, now, now, (why,), (k.CALICO_BGP,)
        )
        return
    sessions = found.nodes * (found.nodes - 1) // 2
    names = (*found.reflectors, *(n for n in found.workers if n not in found.reflectors))[:count]
    why = (
        f"A full mesh of {found.nodes} nodes is {sessions} sessions; each node needs {count} with"
        f" {count} reflectors, and one of them may fail."
    )
    against = [
        f"take fresh or drained nodes: setting the cluster ID {CLUSTER_ID} takes a node out of the"
        " mesh for about 2 s",
        "reflectors first, peers Established, the mesh off last",
    ]
    if len(names) < count:
        against.append(f"the inventory has no {count} workers; add machines for them")
    yield Advice(
        "reflectors", "BGP route reflectors", Verdict.CHANGE, now, choose, (why,),
        (k.CALICO_BGP, k.CALICO_ORDER, k.OURS), tuple(against), _section(found, names),
        groups={"route_reflectors": names},
    )  # fmt: skip


def _section(found: Situation, names: tuple[str, ...]) -> dict[str, Any]:
    """The group of all nodes; which of several groups grows is nothing that size tells."""
    if len(found.reflector_groups) > 1 or len(names) < 2:
        return {}
    name, given = next(iter(found.reflector_groups.items()), ("all-nodes", {}))
    group = {"cluster_id": CLUSTER_ID, **given, "reflectors": list(names)}
    return {"route_reflectors": {"groups": {name: group}}}


def wanted(nodes: int) -> int:
    """Reflectors for so many nodes; 0 for a full mesh."""
    if nodes <= k.MESH_UP_TO:
        return 0
    return 2 if nodes <= k.TWO_REFLECTORS_UP_TO else 3


def neighbours(found: Situation) -> Iterator[Advice]:
    """Whether the kernel's table of neighbours is large enough."""
    need = found.nodes + found.max_pods
    if need <= k.DEFAULT_NEIGHBOURS or "large-cluster" in found.profiles:
        return
    profiles = [*(found.profiles or ("kubernetes-node",)), "large-cluster"]
    why = f"{found.nodes} nodes and {found.max_pods} pods are {need} neighbours of one table."
    yield Advice(
        "neighbours", "Neighbour tables", Verdict.CHOOSE, "", "the profile large-cluster", (why,),
        (k.NEIGHBOURS,), settings={"sysctl": {"profiles": profiles}},
    )  # fmt: skip
