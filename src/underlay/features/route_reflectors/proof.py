"""The gate: wait until BGP is what it should be, and see it twice."""

from __future__ import annotations

import time

from pyinfra.api.host import Host

from underlay.features.route_reflectors import gate, plan
from underlay.features.route_reflectors.job import Job
from underlay.features.route_reflectors.plan import State
from underlay.features.route_reflectors.writes import now as read_now
from underlay.features.route_reflectors.writes import soon
from underlay.operations.kube_proxy import POLL, TELL, patiently

#: A gate that passes must pass again after so many seconds: BIRD takes routes back in its own time.
HOLD = 3.0


def proved(host: Host, job: Job, expected: State) -> str:
    """Every node has the sessions of `expected` and its routes: "" or what is wrong in the end."""
    now = patiently(host, lambda: read_now(job), soon(job))
    if plan.change(now.state, expected):
        return (
            "somebody else has changed nodes or BGPPeers of ours meanwhile; agree with them, and"
            " run it again"
        )
    without = job.settings.without
    names = [node.name for node in now.layout.nodes if node.name not in without]
    before = job.run.snapshot.baseline if job.run.snapshot else gate.Baseline()
    new = [r.address for r in job.settings.routers.values()]
    new += [a for n in now.layout.nodes if n.name in expected.marks for a in n.addresses]
    readings = dict(patiently(host, lambda: job.status.read(names), soon(job)))
    deadline, told = soon(job), 0.0
    held = False
    while True:
        found = gate.complaints(now.layout, readings, before, without=without, new=new)
        if not found and held:
            host.log(f"{host.name}: {len(names)} nodes have their sessions and routes")
            return ""
        if found and time.monotonic() > deadline:
            more = f" (and {len(found) - 1} more nodes)" if len(found) > 1 else ""
            return f"{found[0]}{more}"
        if found and time.monotonic() - told >= TELL:
            host.log(f"{host.name}: not yet: {found[0]} (of {len(found)})")
            told = time.monotonic()
        time.sleep(POLL if found else HOLD)
        held = not found
        # only those that are not there yet are asked again; when all are, all of them
        again = [text.partition(":")[0] for text in found] or names
        readings.update(patiently(host, lambda a=again: job.status.read(a), soon(job)))  # type: ignore[misc]
