"""What a conversion writes, one concern each.

The rule: a write is asked for by what differs from a target now, never by what differed before.
"""

from __future__ import annotations

import time

from pyinfra.api.host import Host

from underlay import direct, journal
from underlay.cluster import drain
from underlay.features.route_reflectors import nodes, plan, view
from underlay.features.route_reflectors.job import Job
from underlay.features.route_reflectors.plan import Mark, State
from underlay.operations import outcome
from underlay.operations.files import append_entry
from underlay.operations.kube_proxy import patiently


def now(job: Job) -> view.View:
    """The cluster as it is."""
    return view.read(job.api, job.store, job.settings.label)


def soon(job: Job) -> float:
    """Until when a gate, or an API server that does not answer, is waited for."""
    return time.monotonic() + job.settings.wait_seconds


def mark(host: Host, job: Job, target: State) -> None:
    """Cluster ids and labels that the target has."""
    for name, wanted in plan.change(now(job).state, target).gain.items():
        nodes.set_mark(job.api, name, wanted, job.settings.label)
        host.log(f"{host.name}: {name}: cluster id {wanted.cluster_id}")


def unmark(host: Host, job: Job, target: State) -> None:
    """No id and no label on what the target has not."""
    for name in plan.change(now(job).state, target).lose:
        nodes.set_mark(job.api, name, Mark(), job.settings.label)
        host.log(f"{host.name}: {name}: no cluster id")


def peer(host: Host, job: Job, target: State) -> None:
    """Our BGPPeers of the target."""
    for name, spec in plan.change(now(job).state, target).put.items():
        job.store.put_peer(name, spec)


def unpeer(host: Host, job: Job, target: State) -> None:
    """No other BGPPeer of ours."""
    for name in plan.change(now(job).state, target).drop:
        job.store.drop_peer(name)


def mesh(host: Host, job: Job, on: bool) -> None:
    """Switch the mesh."""
    if now(job).state.mesh is not on:
        job.store.set_mesh(on)
        host.log(f"{host.name}: nodeToNodeMeshEnabled: {str(on).lower()}")


def uncordon(host: Host, job: Job) -> str:
    """Let the nodes take pods that did when the snapshot was taken."""
    for name in job.run.snapshot.schedulable if job.run.snapshot else ():
        patiently(host, lambda n=name: drain.set_schedulable(  # type: ignore[misc]
            job.api, n, on=True), soon(job))  # fmt: skip
    return ""


def entry(host: Host, event: str, data: dict[str, object]) -> str:
    """An entry that cannot be written is a failed step: what it announces must not happen."""
    made = journal.Entry(outcome.now(), outcome.RUN, event, data)
    done, _ = direct.run(host, append_entry(plan.CHANGE, made))
    path = journal.path(plan.CHANGE)
    return "" if done else f"{path}: cannot be written; is the disk full or read-only?"
