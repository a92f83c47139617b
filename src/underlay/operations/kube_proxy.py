"""Steps of a kube-proxy migration on one node, as pyinfra runs them.

The rule: a step that fails records its sentence in the rollout and keeps the host in the run, so
that it can be rolled back; the last operation of a run is what fails the host.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from underlay.cluster import Api, Object
from underlay.cluster.objects import POD
from underlay.errors import ApiSilentError, ClusterError
from underlay.facts.kube_proxy import ask_mode
from underlay.facts.script import ScriptFact
from underlay.operations import outcome
from underlay.rolling import Rollout

T = TypeVar("T")

#: Seconds between two looks, and between two lines that tell a person what is waited for.
POLL, TELL = 2.0, 10.0

#: How often a pod may be restarted when it comes back with an older copy of its configuration.
RESTARTS = 3


class Mode(ScriptFact[str]):
    """What kube-proxy answers on /proxyMode, "" when it does not."""

    @override
    def command(self, metrics: str) -> StringCommand:
        return self.run({"mode": ask_mode(metrics)})

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> str:
        return (readings["mode"] or [""])[0].strip()


class ProbeLines(ScriptFact[list[str]]):
    """What a probe script printed."""

    @override
    def command(self, script: str) -> StringCommand:
        return self.run({"probes": f"bash -c {shlex.quote(script)}"})

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> list[str]:
        return readings["probes"]


def attempt(state: State, host: Host, rollout: Rollout, step: Callable[[Host], str]) -> bool:
    """Run one step; the sentence it returns, "" when all is well, goes into the rollout."""
    try:
        sentence = step(host)
    except ClusterError as error:
        sentence = str(error)
    if sentence:
        host.log(f"{host.name}: {sentence}", outcome.ERROR)
        rollout.fail(host.name, sentence)
    return not sentence


@dataclass(frozen=True)
class Place:
    """Where a kube-proxy runs: the API, its DaemonSet and node, and where it tells its mode."""

    api: Api
    namespace: str
    daemon_set: str
    node: str
    metrics: str

    def pods(self) -> list[Object]:
        """Its pod; for a moment there may be two of them, or none."""
        found = self.api.list(POD, self.namespace, fields=f"spec.nodeName={self.node}")
        return [pod for pod in found if self._is_ours(pod)]

    def _is_ours(self, pod: Object) -> bool:
        owners = pod["metadata"].get("ownerReferences") or []
        return any(
            owner.get("kind") == "DaemonSet" and owner.get("name") == self.daemon_set
            for owner in owners
        )


def restart(host: Host, place: Place, *, mode: str, wait_seconds: int) -> str:
    """Restart kube-proxy on a node until it runs in `mode`; "" or why it does not.

    A new pod may start with an older copy of the ConfigMap, so a wrong mode is restarted again.
    """
    deadline = time.monotonic() + wait_seconds
    found = ""
    for _ in range(RESTARTS):
        pods = patiently(host, place.pods, deadline)
        old = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}
        for name, uid in old.items():
            patiently(host, lambda n=name, u=uid: place.api.delete(  # type: ignore[misc]
                POD, n, place.namespace, uid=u), deadline)  # fmt: skip
        sentence = _wait_for_pod(host, place, frozenset(old.values()), deadline)
        if sentence:
            return sentence
        found = wait_for_answer(host, place.metrics, deadline - time.monotonic())
        if found == mode:
            host.log(f"{host.name}: kube-proxy runs in mode {mode}")
            return ""
    return f"kube-proxy runs in mode {found or 'unknown'} and not in {mode}; see its log"


def patiently(host: Host, call: Callable[[], T], deadline: float) -> T:
    """Call until the API server answers; ApiSilentError when it does not before `deadline`."""
    told = 0.0
    while True:
        try:
            return call()
        except ApiSilentError:
            now = time.monotonic()
            if now > deadline:
                raise
            if now - told >= TELL:
                host.log(f"{host.name}: the Kubernetes API does not answer; waiting for it")
                told = now
            time.sleep(POLL)


def _wait_for_pod(host: Host, place: Place, old: frozenset[str], deadline: float) -> str:
    """Wait until a pod that is not one of `old` is ready and those are gone."""
    started = told = time.monotonic()
    node = place.node
    while True:
        pods = patiently(host, place.pods, deadline)
        new = [pod for pod in pods if pod["metadata"]["uid"] not in old]
        if len(new) == len(pods) and any(_ready(pod) for pod in new):
            return ""
        now = time.monotonic()
        if now > deadline:
            return f"kube-proxy did not come back on {node} in time; see its pod's events"
        if now - told >= TELL:
            what = "the new pod to be ready" if new else "the old pod to end"
            host.log(f"{host.name}: {now - started:.0f} s, waiting for {what}")
            told = now
        time.sleep(POLL)


def wait_for_answer(host: Host, metrics: str, seconds: float) -> str:
    """What /proxyMode answers as soon as it does; "" when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = host.get_fact(Mode, metrics=metrics)
        if found:
            return str(found)
        time.sleep(POLL)
    return ""


def _ready(pod: Mapping[str, object]) -> bool:
    status = pod.get("status")
    conditions = status.get("conditions") or [] if isinstance(status, dict) else []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def prove(host: Host, judge: Callable[[Host], Sequence[str]], *, wait_seconds: int) -> str:
    """Ask `judge` until it has no complaint or the time is over; "" or its last complaints."""
    deadline = time.monotonic() + wait_seconds
    while True:
        complaints = judge(host)
        if not complaints:
            return ""
        if time.monotonic() > deadline:
            more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
            return complaints[0] + more
        host.log(f"{host.name}: not yet: {complaints[0]}")
        time.sleep(POLL)
