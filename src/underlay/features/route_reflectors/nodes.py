"""Nodes of the cluster: cordon, drain, and make or unmake a reflector.

The rule: a pod leaves by eviction only, so that a PodDisruptionBudget is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from underlay.cluster import Api, Kind
from underlay.cluster.objects import NODE
from underlay.errors import ClusterError
from underlay.features.route_reflectors import plan, view
from underlay.features.route_reflectors.plan import Mark
from underlay.operations.kube_proxy import POLL, TELL

#: Too many requests: a PodDisruptionBudget does not allow it now.
_NOT_NOW = 429

Tell = Callable[[str], None]


def set_schedulable(api: Api, node: str, on: bool) -> None:
    """Uncordon or cordon."""
    api.merge(NODE, node, {"spec": {"unschedulable": None if on else True}})


def set_mark(api: Api, node: str, mark: Mark, label: str) -> None:
    """Cluster id and label in one write, so that the node changes sides once."""
    annotations: Mapping[str, str | None] = {plan.ID: mark.cluster_id}
    labels: Mapping[str, str | None] = {label: mark.label}
    meta = {"annotations": dict(annotations), "labels": dict(labels)}
    api.merge(NODE, node, {"metadata": meta})


def drain(api: Api, node: str, *, seconds: int, tell: Tell) -> str:
    """Evict until no pod is left; "" or what is still there when the time is over."""
    deadline = time.monotonic() + seconds
    told = time.monotonic()
    version = _eviction(api)
    while True:
        left = view.pods(api, node)
        if not left:
            return ""
        refused = ""
        for pod in left:
            refused = _evict(api, version, pod) or refused
        now = time.monotonic()
        if now > deadline:
            first = f"{left[0].namespace}/{left[0].name}"
            return (
                f"{node}: {len(left)} pods are still there after {seconds} s, as {first}"
                f"{f' ({refused})' if refused else ''}; move them, or raise"
                " route_reflectors.drain_seconds"
            )
        if now - told >= TELL:
            tell(f"{node}: waiting for {len(left)} pods to leave {refused}".rstrip())
            told = now
        time.sleep(POLL)


def _eviction(api: Api) -> str:
    """The version of Eviction: v1 since 1.22, and alone since 1.25."""
    minor = api.version().split(".")[1]
    return "policy/v1" if int("".join(filter(str.isdigit, minor))) >= 22 else "policy/v1beta1"


def _evict(api: Api, version: str, pod: view.Pod) -> str:
    """Ask for one eviction; "" or why it is not allowed now."""
    body = {
        "apiVersion": version, "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
    }  # fmt: skip
    path = f"{_POD.path(pod.name, pod.namespace)}/eviction"
    status, text = api.request("POST", path, body=body)
    if status == _NOT_NOW:
        return "a PodDisruptionBudget does not allow it yet"
    if status >= 300 and status != 404:
        raise ClusterError(
            f"pod {pod.namespace}/{pod.name}: cannot be evicted ({status}: {text[:200]}); grant"
            " create on pods/eviction (docs/rbac.md), or drain the node yourself"
        )
    return ""


_POD = Kind("v1", "Pod", "pods")
