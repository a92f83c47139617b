"""Migrate kube-proxy to another mode node by node, and back.

The body of a deploy reads and decides; operations carry out what was decided. All hosts share one
Run: once a node has failed, no other node is switched, and those that were switched go back.
"""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from pyinfra.api.deploy import deploy
from pyinfra.api.inventory import Inventory
from pyinfra.context import host, state

from underlay.cluster import Api
from underlay.cluster.leased import leased
from underlay.cluster.of_run import api_of
from underlay.errors import ClusterError
from underlay.facts.kube_proxy import KubeProxyNode, NodeProxy
from underlay.features.fleet import load, load_all
from underlay.features.kube_proxy import (
    config_text,
    configuration,
    neighbours,
    plan,
    service,
    steps,
    units,
)
from underlay.features.kube_proxy.checks import MODES, Question, findings
from underlay.features.kube_proxy.finding import Finding
from underlay.features.kube_proxy.job import Job
from underlay.features.kube_proxy.plan import Snapshot, Work
from underlay.features.kube_proxy.rules import sets_conntrack_max
from underlay.features.kube_proxy.run import Run
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.kube_proxy.units import Unit
from underlay.features.kube_proxy.view import ClusterView, view_of
from underlay.features.sysctl.settings import Sysctl
from underlay.operations import kube_proxy, leftovers
from underlay.rolling import batch_size, batches
from underlay.settings.cluster import Cluster

_runs: WeakKeyDictionary[Inventory, Run] = WeakKeyDictionary()

#: What a host asks about at first: the modules of every mode it could have.
_ALL_MODULES = ("ip_vs", "nf_conntrack", "nf_tables")


@deploy("kube-proxy to IPVS")
def migrate_to_ipvs() -> None:
    """Migrate every node of the run to ipvs."""
    migrate("ipvs")


@deploy("kube-proxy mode")
def migrate_to_mode() -> None:
    """Migrate every node of the run to the mode that the inventory names."""
    migrate(load(host, KubeProxy).mode)


@deploy("kube-proxy back from IPVS")
def roll_back_from_ipvs() -> None:
    """Return every node of the run to what it ran before ipvs, and remove what ipvs left."""
    found = _Read()
    snapshot = plan.snapshot_before(found.node.entries, "ipvs")
    if snapshot is None and found.node.mode == "ipvs":
        raise ClusterError(
            f"{host.name}: no snapshot of a mode before ipvs in its journal; name the mode you want"
            " in kube_proxy.mode and run deploys/proxy_mode.py"
        )
    _roll_back(found, snapshot)


@deploy("kube-proxy back to what it was")
def roll_back() -> None:
    """Undo the last migration of every node of the run; nothing to do where it was undone."""
    found = _Read()
    _roll_back(found, plan.committed_before(found.node.entries))


class _Read:
    """What the body of a deploy reads for this host: settings, cluster, node."""

    def __init__(self) -> None:
        self.settings = load(host, KubeProxy)
        self.api: Api = api_of(host.state, load(host, Cluster))
        self.view: ClusterView = view_of(host.state, self.api, self.settings.rollout.take_out)
        self.name = self.settings.node_name or host.name
        found = self.view.unit_of(self.name)
        self.known = found is not None
        self.unit: Unit = found or self.view.units[0]
        self.metrics = configuration.metrics_address(self.unit.config)
        self.node = self._node()

    def _node(self) -> NodeProxy:
        wanted = dict.fromkeys([*_ALL_MODULES, f"ip_vs_{self.settings.ipvs.scheduler}"])
        found: NodeProxy | None = host.get_fact(
            KubeProxyNode, modules=tuple(wanted), change=plan.CHANGE, metrics=self.metrics
        )
        if found is None:
            raise ClusterError(f"{host.name}: could not be read; run it again with -v to see why")
        return found

    def settle(self) -> None:
        """Wait for a kube-proxy that a run before this one restarted and did not wait for."""
        unfinished = self.unit.migrating or plan.open_snapshot(self.node.entries)
        if self.node.mode or not self.known or not unfinished:
            return
        host.log(f"{host.name}: a run was cut short here; waiting for kube-proxy to answer")
        if kube_proxy.wait_for_answer(host, self.metrics, self.settings.wait_seconds):
            self.node = self._node()


def migrate(mode: str) -> None:
    """Add the operations that bring this host's node to `mode`."""
    found = _Read()
    found.settle()
    node, unit = found.node, found.unit
    config = config_text.with_values(unit.config, configuration.values(found.settings, mode))
    work = plan.remaining(node, mode, config)
    under_way = unit.migrating == mode
    job = Job(
        api=leased(found.api, _run().hold), view=found.view, unit=unit, run=_run(),
        settings=found.settings,
        node=found.name, mode=mode, config=config, metrics=found.metrics, before=node, work=work,
        base=plan.base(unit.config, unit.previous, node.mode, mode),
        old=(plan.open_snapshot(node.entries) if under_way else None)
        or (plan.snapshot_before(node.entries, mode) if work is Work.NOTHING else None),
        findings=tuple(_findings(found, mode, config)),
    )  # fmt: skip
    _add(job)


def _findings(found: _Read, mode: str, config: str) -> list[Finding]:
    """What the cluster and the node say against `mode`."""
    view = found.view
    everywhere = [Finding("rights", sentence) for sentence in view.denied]
    everywhere += neighbours.findings(
        view.neighbours, mode=mode, config=config, cluster_ips=view.cluster_ips()
    )
    everywhere += neighbours.kubelet_dns(view.neighbours, found.node.cluster_dns)
    asked = Question(
        settings=found.settings, mode=mode, minor=view.minor, config=config, node=found.node,
        known=found.known, foreign=plan.ours(found.node, view.node_ports())[1],
        cluster_ips=view.cluster_ips(), owns_max=sets_conntrack_max(load(host, Sysctl)),
    )  # fmt: skip
    everywhere += service.findings(found.api, found.settings, found.name)
    return [*everywhere, *units.other_image(found.unit, found.name), *findings(asked)]


def _roll_back(found: _Read, snapshot: Snapshot | None) -> None:
    """Add the operations that bring this host's node back to a snapshot."""
    node, unit = found.node, found.unit
    back_to = snapshot.mode if snapshot else node.mode
    if back_to not in MODES:
        raise ClusterError(
            f"{host.name}: kube-proxy does not tell its mode and the journal knows none; see its"
            " log"
        )
    config = unit.config
    if snapshot:
        managed = list(configuration.values(found.settings, node.mode or back_to))
        written = plan.last_digest(node.entries)
        config = plan.to_restore(unit.config, snapshot.config, managed, written)
    servers = plan.ours(node, found.view.node_ports())[0]
    dirty = bool(leftovers.left(node, back_to, servers if back_to != "ipvs" else []))
    wrong = node.mode != back_to or unit.config != config
    work = Work.SWITCH if node.mode != back_to else Work.PROVE if dirty or wrong else Work.NOTHING
    job = Job(
        api=leased(found.api, _run().hold), view=found.view, unit=unit, run=_run(),
        settings=found.settings,
        node=found.name, mode=back_to, config=config, metrics=found.metrics, before=node,
        work=work, base=unit.config, old=snapshot, back=True,
        findings=(
            *(Finding("rights", sentence) for sentence in found.view.denied),
            *units.other_image(unit, found.name),
        ),
    )  # fmt: skip
    _add(job)


def _add(job: Job) -> None:
    """The operations of this host, in the order of the batches of all hosts."""
    if not _anything_to_do(job):
        return
    job.run.hosts.add(host.name)
    names = _in_run(job)
    rollout = job.settings.rollout
    size = batch_size(rollout.batch, len(names), rollout.max_unavailable)
    groups = batches(names, canary=rollout.canary, size=size)
    steps.check(name=f"Check that kube-proxy can be set to {job.mode}", job=job)
    steps.start(name="Stop here unless every node passed", job=job, hosts=names)
    steps.configure(name=f"Set mode {job.mode} in the ConfigMap of kube-proxy", job=job)
    for number in _each(groups):
        before = groups[number - 1] if number else ()
        if host.name in (*before, *groups[number]):
            steps.gate(
                name=f"Batch {number + 1} of {len(groups)}: {_listed(groups[number])}",
                job=job,
                pause=rollout.pause if number else 0,
            )
        if host.name in groups[number]:
            _node_steps(job, host.name, _listed(groups[number]))
    if not job.back:
        _way_back(job, groups)
    steps.finish(name="End the run with what happened", job=job)


def _node_steps(job: Job, me: str, batch: str) -> None:
    """Forward on one node, and back when that failed; the nodes of a batch share these steps."""
    steps.record(name=f"{batch}: record what is there", job=job, _ignore_errors=True)
    steps.switch(
        name=f"{batch}: restart kube-proxy in mode {job.mode}", job=job, _ignore_errors=True
    )
    steps.prove(name=f"{batch}: prove mode {job.mode} by probes", job=job, _ignore_errors=True)
    steps.commit(name=f"{batch}: commit", job=job, _ignore_errors=True)
    if not job.back:
        steps.undo(
            name=f"{batch}: roll back to {job.before.mode}",
            job=job,
            _ignore_errors=True,
            _if=lambda: me in job.run.failed,
        )


def _way_back(job: Job, groups: tuple[tuple[str, ...], ...]) -> None:
    """When a node failed, those switched before it go back too, the latest first."""
    for number in _each(groups):
        group = groups[len(groups) - 1 - number]
        after = groups[len(groups) - number] if number else ()
        if host.name in (*after, *group):
            steps.gate(name=f"Back from batch {len(groups) - number}, if a node failed", job=job)
        if host.name in group:
            steps.undo_switched(
                name=f"{_listed(group)}: roll back as well, if another node failed",
                job=job,
                _ignore_errors=True,
                _if=lambda: bool(job.run.halted),
            )


def _each(groups: tuple[tuple[str, ...], ...]) -> Iterator[int]:
    """Numbers of the batches, known to pyinfra as positions of a loop."""
    yield from host.loop(range(len(groups)))  # type: ignore[no-untyped-call]


def _anything_to_do(job: Job) -> bool:
    """A host with nothing to do adds no operation at all, which keeps a re-apply nearly free.

    While a mark says that a change is under way every host takes part: the batches hold together
    only when none of their hosts is silent, and the change is not over before its mark is gone.
    """
    differs = job.unit.config != job.config
    return job.work is not Work.NOTHING or differs or bool(job.unit.migrating)


def _run() -> Run:
    return _runs.setdefault(host.state.inventory, Run())


def _in_run(job: Job) -> list[str]:
    """Hosts of this run in inventory order, those of the same unit."""
    found = []
    for name, settings in load_all(host, KubeProxy).items():
        unit = job.view.unit_of(settings.node_name or name) or job.unit
        limited = state.is_host_in_limit(state.inventory.get_host(name))
        if limited and unit.daemon_set == job.unit.daemon_set:
            found.append(name)
    return found


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
