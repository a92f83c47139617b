"""What the steps of a conversion carry out, while the run executes.

The rule: every action looks at the cluster first and writes only what differs, so that a run which
was killed anywhere is continued by running it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pyinfra.api.host import Host
from pyinfra.api.state import State as RunState

from underlay.cluster import drain
from underlay.cluster.lease import Lease
from underlay.errors import ClusterError
from underlay.features.route_reflectors import gate, plan, writes
from underlay.features.route_reflectors.job import Job, Snapshot
from underlay.features.route_reflectors.plan import State
from underlay.features.route_reflectors.proof import proved
from underlay.features.route_reflectors.restore import restore
from underlay.features.route_reflectors.rights import LEASE_NAME, NAMESPACE
from underlay.operations import outcome
from underlay.operations.kube_proxy import attempt, patiently


def claim(state: RunState, host: Host, job: Job) -> bool:
    """Take the lease of the cluster for this run."""
    lease = Lease(job.api, LEASE_NAME, NAMESPACE, what="the BGP peers")
    outcome.note(host, f"{host.name}: writes by {job.store.how}")

    def step(h: Host) -> str:
        refused = lease.acquire(lambda text: h.log(f"{h.name}: {text}"))
        job.run.lease = None if refused else lease
        return refused

    return _attempt(state, host, job, step)


def release(state: RunState, host: Host, job: Job) -> bool:
    """Give the lease back."""
    job.run.give_back()
    return True


def record(state: RunState, host: Host, job: Job) -> bool:
    """Write down what is there: objects, which nodes take pods, every node's routes."""
    return _attempt(state, host, job, lambda h: _record(h, job))


def _record(host: Host, job: Job) -> str:
    now = patiently(host, lambda: writes.now(job), writes.soon(job))
    change = plan.change(now.state, job.target)
    cordoned = () if job.settings.loaded == "accept" else change.nodes
    taking = tuple(name for name in cordoned if name in now.schedulable)
    old = job.run.snapshot
    if old is not None:
        # a run was cut short: what was there before it counts, and what it did is gone on with
        more = tuple(name for name in taking if name not in old.schedulable)
        job.run.snapshot = replace(old, schedulable=(*old.schedulable, *more))
        return writes.entry(host, "snapshot", job.run.snapshot.to_json()) if more else ""
    names = [n.name for n in now.layout.nodes if n.name not in job.settings.without]
    readings = patiently(host, lambda: job.status.read(names), writes.soon(job))
    host.log(f"{host.name}: read {job.status.told()}")
    silent = [name for name in names if readings[name] is None]
    if silent:
        return (
            f"{silent[0]} (of {len(silent)}): neither BIRD on the node nor CalicoNodeStatus tells"
            " its sessions; look at its calico-node, or name it in route_reflectors.without"
        )
    taken = Snapshot(now.state, taking, gate.baseline(readings, now.layout))
    for name, addresses in taken.baseline.idle.items():
        host.log(
            f"{host.name}: {name}: {len(addresses)} sessions are not Established already, as with"
            f" {addresses[0]}; no gate waits for them"
        )
    sentence = writes.entry(host, "snapshot", taken.to_json())
    job.run.snapshot = None if sentence else taken
    return sentence


def clear(state: RunState, host: Host, job: Job) -> bool:
    """Cordon the nodes whose sessions will drop, and drain them where that is wanted."""
    return _attempt(state, host, job, lambda h: _clear(h, job))


def _clear(host: Host, job: Job) -> str:
    for name in job.change.nodes:
        patiently(host, lambda n=name: drain.set_schedulable(  # type: ignore[misc]
            job.api, n, on=False), writes.soon(job))  # fmt: skip
        if job.settings.loaded == "drain":
            sentence = drain.drain(
                job.api, name, seconds=job.settings.drain_seconds,
                setting="route_reflectors.drain_seconds",
                tell=lambda text: host.log(f"{host.name}: {text}"),
            )  # fmt: skip
            if sentence:
                return sentence
        elif left := patiently(host, lambda n=name: drain.pods(job.api, n), writes.soon(job)):  # type: ignore[misc]
            # it took one between the check and the cordon
            return f"{name}: {left[0].namespace}/{left[0].name} has come meanwhile; run it again"
    return ""


def mark(state: RunState, host: Host, job: Job) -> bool:
    """Cluster ids and labels of new reflectors."""
    return _write(state, host, job, lambda h: writes.mark(h, job, job.target))


def peer(state: RunState, host: Host, job: Job) -> bool:
    """Our BGPPeers."""
    return _write(state, host, job, lambda h: writes.peer(h, job, job.target))


def unpeer(state: RunState, host: Host, job: Job) -> bool:
    """Delete our BGPPeers that are not wanted any more."""
    return _write(state, host, job, lambda h: writes.unpeer(h, job, job.target))


def unmark(state: RunState, host: Host, job: Job) -> bool:
    """Take id and label from what is to be a reflector no more."""
    return _write(state, host, job, lambda h: writes.unmark(h, job, job.target))


def mesh(state: RunState, host: Host, job: Job, on: bool) -> bool:
    """Switch the mesh."""
    return _write(state, host, job, lambda h: writes.mesh(h, job, on))


def prove(state: RunState, host: Host, job: Job, expected: State) -> bool:
    """Wait until every node has the sessions of `expected` and the routes it had."""
    return _attempt(state, host, job, lambda h: proved(h, job, expected))


def uncordon(state: RunState, host: Host, job: Job) -> bool:
    """Let the nodes take pods that did before."""
    return _attempt(state, host, job, lambda h: writes.uncordon(h, job))


def commit(state: RunState, host: Host, job: Job, event: str) -> bool:
    """Write what was reached."""
    data: dict[str, object] = {"mesh": job.target.mesh, "reflectors": sorted(job.target.marks)}
    return _attempt(state, host, job, lambda h: writes.entry(h, event, data))


def _write(state: RunState, host: Host, job: Job, step: Callable[[Host], None]) -> bool:
    def patient(h: Host) -> str:
        patiently(h, lambda: step(h), writes.soon(job))
        return ""

    job.run.changed = True
    return _attempt(state, host, job, patient)


def _attempt(state: RunState, host: Host, job: Job, step: Callable[[Host], str]) -> bool:
    """As `attempt`; what nobody foresaw must not let the next step go on either."""
    try:
        return attempt(state, host, job.run, step)
    except Exception as error:
        sentence = f"{type(error).__name__}: {error}; this is a mistake in underlay, report it"
        host.log(f"{host.name}: {sentence}", outcome.ERROR)
        job.run.fail(host.name, sentence)
        return False


def undo(state: RunState, host: Host, job: Job) -> bool:
    """Bring everything back to the snapshot."""
    snapshot = job.run.snapshot
    if snapshot is None or job.run.lease is None or job.run.lost:
        # nothing was changed, or it is another run's to change
        return True
    try:
        sentence = restore(host, job, snapshot.state) if job.run.changed else ""
        # a node whose routes are not proved again takes no pods
        sentence = sentence or writes.uncordon(host, job)
        sentence = sentence or writes.entry(host, "rolled-back", {"mesh": snapshot.state.mesh})
    except ClusterError as error:
        sentence = str(error)
    if sentence:
        sentence = f"{sentence}; the way back is not complete, run it again"
        host.log(f"{host.name}: rollback: {sentence}", outcome.ERROR)
        job.run.fail(f"{host.name} (rollback)", sentence)
    else:
        host.log(f"{host.name}: back to {_named(snapshot.state)}")
    return not sentence


def _named(state: State) -> str:
    return "the mesh" if state.mesh else f"reflectors {', '.join(sorted(state.marks))}"
