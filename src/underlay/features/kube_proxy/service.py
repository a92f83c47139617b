"""Nodes out of service while they are switched, where the inventory wants that.

The rule: only what this feature took out is put back, by its mark on the node.
"""

from __future__ import annotations

from pyinfra.api.host import Host

from underlay.cluster import Api, drain
from underlay.cluster.objects import NODE
from underlay.features.kube_proxy.finding import Finding
from underlay.features.kube_proxy.job import Job
from underlay.features.kube_proxy.settings import KubeProxy

#: Annotation of a node that was cordoned for its switch.
MARK = "underlay.dev/cordoned-for"
_VALUE = "kube-proxy"


def findings(api: Api, settings: KubeProxy, node: str) -> list[Finding]:
    """Pods that a drain would destroy."""
    if settings.rollout.take_out != "drain":
        return []
    lost = [pod for pod in drain.pods(api, node) if pod.why]
    if not lost:
        return []
    sentence = (
        f"pod {lost[0].namespace}/{lost[0].name} (of {len(lost)}) would not outlive a drain:"
        f" {lost[0].why}; move it, or set kube_proxy.rollout.take_out to cordon"
    )
    return [Finding("drain", sentence)]


def take_out(host: Host, job: Job) -> str:
    """Cordon this host's node, and drain it; "" or why it could not be emptied."""
    rollout = job.settings.rollout
    if rollout.take_out == "no":
        return ""
    if not job.api.get(NODE, job.node)["spec"].get("unschedulable"):
        drain.set_schedulable(job.api, job.node, False, {MARK: _VALUE})
        host.log(f"{host.name}: takes no new pods while it is switched")
    if rollout.take_out == "cordon":
        return ""
    return drain.drain(
        job.api, job.node, seconds=rollout.drain_seconds,
        setting="kube_proxy.rollout.drain_seconds",
        tell=lambda text: host.log(f"{host.name}: {text}"),
    )  # fmt: skip


def put_back(host: Host, job: Job) -> None:
    """Uncordon this host's node, if it was us who cordoned it."""
    if job.settings.rollout.take_out == "no":
        return
    marks = job.api.get(NODE, job.node)["metadata"].get("annotations") or {}
    if marks.get(MARK) == _VALUE:
        drain.set_schedulable(job.api, job.node, True, {MARK: None})
        host.log(f"{host.name}: takes pods again")
