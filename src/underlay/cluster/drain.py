"""Take a node out of service, so that what runs on it moves elsewhere, and put it back.

The rule: a pod leaves by eviction only, so that a PodDisruptionBudget is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from underlay.cluster.api import Api
from underlay.cluster.objects import NODE, POD
from underlay.errors import ClusterError

#: Too many requests: a PodDisruptionBudget does not allow it now.
_NOT_NOW = 429

#: Seconds between two looks, and between two lines that tell a person what is waited for.
POLL, TELL = 2.0, 10.0

_FINISHED = ("Succeeded", "Failed")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pod:
    """A pod that a drain has to move; why: what the drain would destroy, "" if nothing."""

    namespace: str
    name: str
    why: str = ""


def set_schedulable(
    api: Api, node: str, on: bool, marks: Mapping[str, str | None] | None = None
) -> None:
    """Uncordon or cordon, annotations in the same write; None removes one."""
    meta = {"metadata": {"annotations": dict(marks)}} if marks else {}
    api.merge(NODE, node, {**meta, "spec": {"unschedulable": None if on else True}})


def pods(api: Api, node: str) -> tuple[Pod, ...]:
    """The pods that a drain of this node has to move. DaemonSets' pods and finished ones are not.

    A drain cannot move a pod that nobody makes anew, and empties an emptyDir.
    """
    found = api.list(POD, fields=f"spec.nodeName={node}")
    return tuple(_pod(pod) for pod in found if _moves(pod))


def drain(api: Api, node: str, *, seconds: int, setting: str, tell: Tell) -> str:
    """Evict until no pod is left; "" or what is still there when the time is over.

    setting: what a person raises to give it more time.
    """
    deadline = time.monotonic() + seconds
    told = time.monotonic()
    version = _eviction(api)
    while True:
        left = pods(api, node)
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
                f"{f' ({refused})' if refused else ''}; move them, or raise {setting}"
            )
        if now - told >= TELL:
            tell(f"{node}: waiting for {len(left)} pods to leave {refused}".rstrip())
            told = now
        time.sleep(POLL)


def _eviction(api: Api) -> str:
    """The version of Eviction: v1 since 1.22, and alone since 1.25."""
    minor = api.version().split(".")[1]
    return "policy/v1" if int("".join(filter(str.isdigit, minor))) >= 22 else "policy/v1beta1"


def _evict(api: Api, version: str, pod: Pod) -> str:
    """Ask for one eviction; "" or why it is not allowed now."""
    body = {
        "apiVersion": version, "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
    }  # fmt: skip
    path = f"{POD.path(pod.name, pod.namespace)}/eviction"
    status, text = api.request("POST", path, body=body)
    if status == _NOT_NOW:
        return "a PodDisruptionBudget does not allow it yet"
    if status >= 300 and status != 404:
        raise ClusterError(
            f"pod {pod.namespace}/{pod.name}: cannot be evicted ({status}: {text[:200]}); grant"
            " create on pods/eviction (docs/rbac.md), or drain the node yourself"
        )
    return ""


def _moves(pod: Mapping[str, Any]) -> bool:
    if pod["spec"].get("hostNetwork") or pod.get("status", {}).get("phase") in _FINISHED:
        return False
    owners = pod["metadata"].get("ownerReferences") or []
    mirror = "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
    return not mirror and not any(owner["kind"] == "DaemonSet" for owner in owners)


def _pod(pod: Mapping[str, Any]) -> Pod:
    meta = pod["metadata"]
    why = ""
    if not meta.get("ownerReferences"):
        why = "nobody makes it anew"
    elif any("emptyDir" in volume for volume in pod["spec"].get("volumes") or []):
        why = "its emptyDir would be lost"
    return Pod(meta["namespace"], meta["name"], why)
