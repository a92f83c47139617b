"""What was decided for one host of a run, before anything changes."""

from __future__ import annotations

from dataclasses import dataclass

from underlay.cluster import Api
from underlay.facts.kube_proxy import NodeProxy
from underlay.features.kube_proxy import probes
from underlay.features.kube_proxy.finding import Finding
from underlay.features.kube_proxy.plan import Snapshot, Work
from underlay.features.kube_proxy.run import Run
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.kube_proxy.units import Unit
from underlay.features.kube_proxy.view import ClusterView

#: How many targets are watched while a node is switched.
_WATCHED = 4


@dataclass(frozen=True)
class Job:
    """What was decided for one host.

    unit: the DaemonSet that runs its kube-proxy; metrics: where that tells its mode; before: the
    node as it was read at the start; base: the configuration to go back to; old: the snapshot to
    go back to, None until it is taken; back: this is a rollback; findings: what the check tells.
    """

    api: Api
    view: ClusterView
    unit: Unit
    run: Run
    settings: KubeProxy
    node: str
    mode: str
    config: str
    metrics: str
    before: NodeProxy
    work: Work
    base: str
    old: Snapshot | None
    findings: tuple[Finding, ...] = ()
    back: bool = False

    @property
    def probes(self) -> tuple[probes.Probe, ...]:
        """What is tried on this node."""
        own = {name: pod for name, (node, pod) in self.view.single.items() if node == self.node}
        place = probes.Place(self.node, self.view.addresses.get(self.node, ""), own)
        return probes.targets(self.view.services, self.view.ready, place, self.settings.probes)

    @property
    def watched(self) -> tuple[str, ...]:
        """`PROTOCOL/ADDRESS/PORT` of what is tried all the time during the switch."""
        usable = [p for p in self.probes if p.place == "node" and not p.expected_to_differ]
        served = [p for p in usable if "without endpoints" not in p.name]
        first = {p.protocol + ("N" if "NodePort" in p.name else ""): p for p in reversed(served)}
        chosen = [*first.values(), *served]
        targets = dict.fromkeys(f"{p.protocol}/{p.address}/{p.port}" for p in chosen)
        return tuple(targets)[:_WATCHED]
