"""What the lab asks its API server: is it ready, and what is not settled yet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from underlay.cluster import Api, Object
from underlay.cluster.objects import NODE, POD, SERVICE_ACCOUNT
from underlay.errors import ClusterError, LabError
from underlay.lab.ssh import Boot

#: Owner of the fields of what the lab itself makes.
FIELD_MANAGER = "underlay-lab"
#: Every node carries a kube-proxy and an echo server; the latter needs a pod network.
_PODS_PER_NODE = 2


def wait_ready(api: Api, *, deadline: float, log: Path) -> None:
    """Wait for /readyz; LabError names the log."""
    while not api.ready():
        if time.monotonic() > deadline:
            raise LabError(f"kube-apiserver: never ready; see {log}")
        time.sleep(0.2)


def apply(api: Api, objects: Iterable[Object]) -> None:
    """Apply objects in the lab's name."""
    for found in objects:
        api.apply(found, manager=FIELD_MANAGER)


def not_ready(api: Api, boots: Mapping[str, Boot], *, network: bool = True) -> list[str]:
    """Nodes that are not Ready and pods that do not run; empty when the cluster is settled.

    boots: node -> the boot it is in; other nodes are not asked for. Without a pod network only what
    needs none is: that the kubelet runs, and the pods of the node's own network.
    """
    try:
        nodes, pods = api.list(NODE), api.list(POD)
    except ClusterError as error:
        return [str(error)]
    return unsettled(nodes, pods, boots, network=network)


def unsettled(
    nodes: Sequence[Object],
    pods: Sequence[Object],
    boots: Mapping[str, Boot],
    *,
    network: bool = True,
) -> list[str]:
    """The same of objects that were read; pure.

    A container that started before its node's boot does not count as running.
    """
    waiting = []
    found = {node["metadata"]["name"]: node for node in nodes}
    for name, boot in boots.items():
        node = found.get(name)
        ready = node is not None and (_is_ready(node) or not network)
        if node is None or not ready or _boot(node) != boot.identity:
            waiting.append(f"node {name}")
    asked = [pod for pod in pods if network or pod["spec"].get("hostNetwork")]
    for pod in asked:
        where = pod["spec"].get("nodeName")
        if where is not None and where not in boots:
            continue
        leaving = "deletionTimestamp" in pod["metadata"]
        if where is None or leaving or not _is_ready(pod) or _started(pod) < boots[where].began:
            waiting.append(f"pod {pod['metadata']['name']} on {where or 'no node yet'}")
    per_node = Counter(pod["spec"].get("nodeName") for pod in asked)
    waiting += [
        f"pods on {name} not created yet"
        for name in boots
        if per_node[name] < (_PODS_PER_NODE if network else 1)
    ]
    return waiting


def has_service_account(api: Api, namespace: str) -> bool:
    """Whether the controller-manager has made the default service account there."""
    return api.find(SERVICE_ACCOUNT, "default", namespace) is not None


def _boot(node: Object) -> str:
    return str(node.get("status", {}).get("nodeInfo", {}).get("bootID", ""))


def _started(pod: Object) -> float:
    """When the oldest of its containers started, in seconds since the epoch; 0 when one has not."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    times = [entry.get("state", {}).get("running", {}).get("startedAt") for entry in statuses]
    if not times or None in times:
        return 0.0
    return min(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp() for text in times)


def _is_ready(found: Object) -> bool:
    conditions = found.get("status", {}).get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
