"""The way back to a snapshot: the mesh first, which carries all while the rest goes."""

from __future__ import annotations

from dataclasses import replace

from pyinfra.api.host import Host

from underlay.features.route_reflectors import plan, writes
from underlay.features.route_reflectors.job import Job
from underlay.features.route_reflectors.plan import State
from underlay.features.route_reflectors.proof import proved
from underlay.features.route_reflectors.writes import soon
from underlay.operations.kube_proxy import patiently


def restore(host: Host, job: Job, old: State) -> str:
    """Objects as they were, and proof of it; "" or what is not as it was."""
    current = patiently(host, lambda: writes.now(job), soon(job)).state
    change = plan.change(current, old)
    if change.rearranges and not current.mesh:
        patiently(host, lambda: writes.mesh(host, job, on=True), soon(job))
        sentence = proved(host, job, replace(current, mesh=True))
        if sentence:
            # what failed is on its way out: what is left of it may well not pass
            host.log(f"{host.name}: rollback: goes on although {sentence}")
    for step in (writes.mark, writes.peer, writes.unpeer, writes.unmark):
        patiently(host, lambda s=step: s(host, job, old), soon(job))  # type: ignore[misc]
    if not old.mesh:
        sentence = proved(host, job, replace(old, mesh=True)) if change.rearranges else ""
        if sentence:
            return f"{sentence}; the mesh stays on"
    patiently(host, lambda: writes.mesh(host, job, old.mesh), soon(job))
    return proved(host, job, old)
