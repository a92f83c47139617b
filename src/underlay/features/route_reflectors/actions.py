"""What the steps of a conversion carry out, while the run executes.

The rule: every action looks at the cluster first and writes only what differs, so that a run which
was killed anywhere is continued by running it again.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import replace

from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State as RunState

from underlay import journal
from underlay.cluster.lease import Lease
from underlay.errors import ClusterError
from underlay.features.route_reflectors import gate, nodes, plan, view
from underlay.features.route_reflectors.job import Job, Snapshot
from underlay.features.route_reflectors.plan import Mark, State
from underlay.features.route_reflectors.rights import NAMESPACE
from underlay.operations import outcome
from underlay.operations.files import append_entry
from underlay.operations.kube_proxy import POLL, TELL, attempt, patiently

LEASE = "underlay-route-reflectors"
#: A gate that passes must pass again after so many seconds: BIRD takes routes back in its own time.
HOLD = 3.0


def claim(state: RunState, host: Host, job: Job) -> bool:
    """Take the lease of the cluster for this run."""
    lease = Lease(job.api, LEASE, NAMESPACE, what="the BGP peers")
    outcome.note(host, f"{host.name}: writes by {job.store.how}")

    def step(h: Host) -> str:
        refused = lease.acquire(lambda text: h.log(f"{h.name}: {text}"))
        job.run.lease = None if refused else lease
        return refused

    return _attempt(state, host, job, step)


def release(state: RunState, host: Host, job: Job) -> bool:
    """Give the lease back."""
    if job.run.lease is not None:
        job.run.lease.release()
        job.run.lease = None
    return True


def record(state: RunState, host: Host, job: Job) -> bool:
    """Write down what is there: objects, which nodes take pods, every node's routes."""
    return _attempt(state, host, job, lambda h: _record(h, job))


def _record(host: Host, job: Job) -> str:
    now = patiently(host, lambda: _now(job), _soon(job))
    change = plan.change(now.state, job.target)
    cordoned = () if job.settings.loaded == "accept" else change.nodes
    taking = tuple(name for name in cordoned if name in now.schedulable)
    old = job.run.snapshot
    if old is not None:
        # a run was cut short: what was there before it counts, and what it did is gone on with
        more = tuple(name for name in taking if name not in old.schedulable)
        job.run.snapshot = replace(old, schedulable=(*old.schedulable, *more))
        return write_entry(host, "snapshot", job.run.snapshot.to_json()) if more else ""
    names = [n.name for n in now.layout.nodes if n.name not in job.settings.without]
    readings = patiently(host, lambda: job.status.read(names), _soon(job))
    host.log(f"{host.name}: read {job.status.told()}")
    silent = [name for name in names if readings[name] is None]
    if silent:
        return (
            f"{silent[0]} (of {len(silent)}): neither BIRD on the node nor CalicoNodeStatus tells"
            " its sessions; look at its calico-node, or name it in route_reflectors.without"
        )
    taken = Snapshot(now.state, taking, gate.baseline(readings, now.layout))
    sentence = write_entry(host, "snapshot", taken.to_json())
    job.run.snapshot = None if sentence else taken
    return sentence


def clear(state: RunState, host: Host, job: Job) -> bool:
    """Cordon the nodes whose sessions will drop, and drain them where that is wanted."""
    return _attempt(state, host, job, lambda h: _clear(h, job))


def _clear(host: Host, job: Job) -> str:
    for name in job.change.nodes:
        patiently(host, lambda n=name: nodes.set_schedulable(  # type: ignore[misc]
            job.api, n, on=False), _soon(job))  # fmt: skip
        if job.settings.loaded == "drain":
            sentence = nodes.drain(
                job.api, name, seconds=job.settings.drain_seconds,
                tell=lambda text: host.log(f"{host.name}: {text}"),
            )  # fmt: skip
            if sentence:
                return sentence
        elif left := patiently(host, lambda n=name: view.pods(job.api, n), _soon(job)):  # type: ignore[misc]
            # it took one between the check and the cordon
            return f"{name}: {left[0].namespace}/{left[0].name} has come meanwhile; run it again"
    return ""


def mark(state: RunState, host: Host, job: Job) -> bool:
    """Cluster ids and labels of new reflectors."""
    return _write(state, host, job, lambda h: _mark(h, job, job.target))


def peer(state: RunState, host: Host, job: Job) -> bool:
    """Our BGPPeers."""
    return _write(state, host, job, lambda h: _peer(h, job, job.target))


def unpeer(state: RunState, host: Host, job: Job) -> bool:
    """Delete our BGPPeers that are not wanted any more."""
    return _write(state, host, job, lambda h: _unpeer(h, job, job.target))


def unmark(state: RunState, host: Host, job: Job) -> bool:
    """Take id and label from what is to be a reflector no more."""
    return _write(state, host, job, lambda h: _unmark(h, job, job.target))


def mesh(state: RunState, host: Host, job: Job, on: bool) -> bool:
    """Switch the mesh."""
    return _write(state, host, job, lambda h: _mesh(h, job, on))


def prove(state: RunState, host: Host, job: Job, expected: State) -> bool:
    """Wait until every node has the sessions of `expected` and the routes it had."""
    return _attempt(state, host, job, lambda h: proved(h, job, expected))


def uncordon(state: RunState, host: Host, job: Job) -> bool:
    """Let the nodes take pods that did before."""
    return _attempt(state, host, job, lambda h: _uncordon(h, job))


def commit(state: RunState, host: Host, job: Job, event: str) -> bool:
    """Write what was reached."""
    data: dict[str, object] = {"mesh": job.target.mesh, "reflectors": sorted(job.target.marks)}
    return _attempt(state, host, job, lambda h: write_entry(h, event, data))


def _write(state: RunState, host: Host, job: Job, step: Callable[[Host], None]) -> bool:
    def patient(h: Host) -> str:
        patiently(h, lambda: step(h), _soon(job))
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


def _now(job: Job) -> view.View:
    return view.read(job.api, job.store, job.settings.label)


def _mark(host: Host, job: Job, target: State) -> None:
    for name, wanted in plan.change(_now(job).state, target).gain.items():
        nodes.set_mark(job.api, name, wanted, job.settings.label)
        host.log(f"{host.name}: {name}: cluster id {wanted.cluster_id}")


def _unmark(host: Host, job: Job, target: State) -> None:
    for name in plan.change(_now(job).state, target).lose:
        nodes.set_mark(job.api, name, Mark(), job.settings.label)
        host.log(f"{host.name}: {name}: no cluster id")


def _peer(host: Host, job: Job, target: State) -> None:
    for name, spec in plan.change(_now(job).state, target).put.items():
        job.store.put_peer(name, spec)


def _unpeer(host: Host, job: Job, target: State) -> None:
    for name in plan.change(_now(job).state, target).drop:
        job.store.drop_peer(name)


def _mesh(host: Host, job: Job, on: bool) -> None:
    if _now(job).state.mesh is not on:
        job.store.set_mesh(on)
        host.log(f"{host.name}: nodeToNodeMeshEnabled: {str(on).lower()}")


def _uncordon(host: Host, job: Job) -> str:
    for name in job.run.snapshot.schedulable if job.run.snapshot else ():
        patiently(host, lambda n=name: nodes.set_schedulable(  # type: ignore[misc]
            job.api, n, on=True), _soon(job))  # fmt: skip
    return ""


def proved(host: Host, job: Job, expected: State) -> str:
    """The gate itself: "" or what is wrong when the time is over."""
    now = patiently(host, lambda: _now(job), _soon(job))
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
    readings = dict(patiently(host, lambda: job.status.read(names), _soon(job)))
    deadline, told = _soon(job), 0.0
    held = False
    while True:
        found = gate.complaints(now.layout, readings, before, without=without, new=new)
        if not found and held:
            host.log(f"{host.name}: {len(names)} nodes have their sessions and routes")
            return ""
        if time.monotonic() > deadline:
            more = f" (and {len(found) - 1} more nodes)" if len(found) > 1 else ""
            return f"{found[0]}{more}" if found else "the routes do not stay; see BIRD's log"
        if found and time.monotonic() - told >= TELL:
            host.log(f"{host.name}: not yet: {found[0]} (of {len(found)})")
            told = time.monotonic()
        time.sleep(POLL if found else HOLD)
        held = not found
        # only those that are not there yet are asked again; when all are, all of them
        again = [text.partition(":")[0] for text in found] or names
        readings.update(patiently(host, lambda a=again: job.status.read(a), _soon(job)))  # type: ignore[misc]


def _soon(job: Job) -> float:
    return time.monotonic() + job.settings.wait_seconds


def undo(state: RunState, host: Host, job: Job) -> bool:
    """Bring everything back to the snapshot, the mesh first: it carries all while the rest goes."""
    snapshot = job.run.snapshot
    if snapshot is None or job.run.lease is None:
        # nothing was changed, or it is another run's to change
        return True
    try:
        sentence = _restore(host, job, snapshot.state) if job.run.changed else ""
        sentence = _uncordon(host, job) or sentence
        if not sentence:
            sentence = write_entry(host, "rolled-back", {"mesh": snapshot.state.mesh})
    except ClusterError as error:
        sentence = str(error)
    if sentence:
        host.log(f"{host.name}: rollback: {sentence}", outcome.ERROR)
        job.run.fail(f"{host.name} (rollback)", sentence)
    else:
        host.log(f"{host.name}: back to {_named(snapshot.state)}")
    return not sentence


def _restore(host: Host, job: Job, old: State) -> str:
    """Objects as they were, and proof of it; "" or what is not as it was."""
    current = patiently(host, lambda: _now(job), _soon(job)).state
    change = plan.change(current, old)
    if change.rearranges and not current.mesh:
        patiently(host, lambda: _mesh(host, job, on=True), _soon(job))
        sentence = proved(host, job, replace(current, mesh=True))
        if sentence:
            # what failed is on its way out: what is left of it may well not pass
            host.log(f"{host.name}: rollback: goes on although {sentence}")
    for step in (_mark, _peer, _unpeer, _unmark):
        patiently(host, lambda s=step: s(host, job, old), _soon(job))  # type: ignore[misc]
    if not old.mesh:
        sentence = proved(host, job, replace(old, mesh=True)) if change.rearranges else ""
        if sentence:
            return f"{sentence}; the mesh stays on"
    patiently(host, lambda: _mesh(host, job, old.mesh), _soon(job))
    return proved(host, job, old)


def _named(state: State) -> str:
    return "the mesh" if state.mesh else f"reflectors {', '.join(sorted(state.marks))}"


def write_entry(host: Host, event: str, data: dict[str, object]) -> str:
    """An entry that cannot be written is a failed step: what it announces must not happen."""
    entry = journal.Entry(outcome.now(), outcome.RUN, event, data)
    command = StringCommand("sh", "-c", shlex.quote(append_entry(plan.CHANGE, entry)))
    done, _ = host.run_shell_command(command, _sudo=bool(host.data.get("_sudo")))
    path = journal.path(plan.CHANGE)
    return "" if done else f"{path}: cannot be written; is the disk full or read-only?"
