"""One run that changes a CNI: what every CNI's deploy does in the same way.

The rule: every node is checked and a backup is on this computer before the first object changes; a
change whose pods do not come up is taken back, and the run fails. A lease that is left says that a
run was cut before it knew: the next one waits for the pods, whatever else it finds to do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State, StateStage
from pyinfra.context import host, state

from underlay.cluster import Api, Kind
from underlay.cluster.lease import Lease
from underlay.cluster.objects import LEASE
from underlay.errors import ClusterError
from underlay.features.preflight.backup import write_backup
from underlay.features.preflight.copying import take
from underlay.operations import cluster_objects, outcome
from underlay.operations.cluster_objects import Change
from underlay.rolling import Rollout
from underlay.settings import Fleet

T = TypeVar("T")
#: The lease of every CNI's runs: its name and namespace.
PLACE = ("underlay-cni", "kube-system")
Steps = Generator[PyinfraCommand, None, None]


@dataclass
class CniRun(Rollout):
    """What has happened. writer: the host that changes the cluster; lease: held meanwhile."""

    writer: str = ""
    lease: Lease | None = None


@dataclass(frozen=True)
class Job:
    """What was decided for the cluster.

    cni: its name; changes: objects, in order; waits_for: kind, name and namespace of workloads
    whose pods must come up, within wait_s seconds (0: nobody waits); verify: one more question
    after that, "" when all is well; backup: folder on this computer; later: objects of a kind that
    is served only then; take_over: managers whose fields may become ours there; cut: an earlier run
    did not come to its end, or another one is at work.
    """

    cni: str
    api: Api
    run: CniRun
    changes: tuple[Change, ...]
    waits_for: tuple[tuple[Kind, str, str | None], ...]
    wait_s: int
    backup: str
    later: tuple[Change, ...] = ()
    take_over: tuple[str, ...] = ()
    cut: bool = False
    verify: Callable[[], str] = field(default=lambda: "")

    @property
    def empty(self) -> bool:
        """Whether every object is as planned, and no run has left that open."""
        return not (self.changes or self.later or self.cut)


class OncePerRun(Generic[T]):
    """What the API server says before anything is changed, read once per run for all hosts."""

    def __init__(self, read: Callable[[Fleet, Api], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._found: WeakKeyDictionary[State, T] = WeakKeyDictionary()

    def __call__(self, state: State, fleet: Fleet, api: Api) -> T:
        """The same for every host; deploy bodies of all hosts may ask at once."""
        with self._lock:
            if state not in self._found:
                self._found[state] = self._read(fleet, api)
            return self._found[state]


def was_cut(api: Api) -> bool:
    """Whether there is a lease of a run: each gives it back when it knows how it has ended."""
    return api.find(LEASE, *PLACE) is not None


def stop(cni: str, refusals: Sequence[str]) -> None:
    """Raise one ClusterError that lists every refusal; do nothing when there is none."""
    if refusals:
        lines = "\n".join(f"  {text}" for text in dict.fromkeys(refusals))
        raise ClusterError(f"{cni}: nothing was changed, because\n{lines}")


@operation()
def check(job: Job, problems: Sequence[str], notes: Sequence[str] = ()) -> Steps:
    """Refuse before anything is changed."""
    for text in notes:
        outcome.note(host, f"{host.name}: {text}")
    if not problems:
        host.noop("every check passed")
        return
    if state.current_stage is not StateStage.Execute:
        for text in problems:
            outcome.note(host, f"{host.name}: {text}")
    job.run.fail(host.name, problems[0])
    yield from outcome.fail(*(f"{host.name}: {text}" for text in problems))


@operation()
def start(job: Job, hosts: Sequence[str]) -> Steps:
    """A node that failed its check, or dropped out, stops the whole run before the first change."""
    lost = [name for name in hosts if _is_lost(state, name)]
    if lost and not job.run.halted:
        job.run.halted = f"{lost[0]}: not reachable in this run; bring it back or --exclude it"
    if job.run.halted:
        yield from outcome.fail(f"{host.name}: not changed, because {job.run.halted}")
    else:
        host.noop("every node passed")


@operation()
def change(job: Job) -> Steps:
    """Bring the cluster's objects to the plan; of all hosts, the first does it."""
    if job.empty:
        host.noop("every object is as planned")
        return
    job.run.writer = job.run.writer or host.name
    if job.run.writer != host.name:
        host.noop(f"{job.run.writer} does it")
        return
    for found in (*job.changes, *job.later):
        before, after = cluster_objects.texts(found)
        if found.before is None:
            host.log(f"{host.name}: make {found}")
        else:
            host.log(f"{host.name}: change {found}")
            outcome.show_lines(host, str(found), before, after)
    if job.cut:
        host.log(f"{host.name}: a run before this one was cut; its pods must come up as well")
    yield FunctionCommand(_change, [job], {})


@operation()
def finish(job: Job) -> Steps:
    """Fail every host when the change failed: a run with a rollback must not end in success."""
    if job.run.halted:
        yield from outcome.fail(f"{host.name}: {job.run.halted}")
    else:
        host.noop("done")


def _change(state: State, host: Host, job: Job) -> bool:
    """Lease, backup, apply, wait, or take back."""
    sentence: str | None = None
    try:
        sentence = _changed(state, host, job)
    except ClusterError as error:
        sentence = str(error)
    finally:
        if job.run.lease is not None:
            job.run.lease.release(keep=_is_open(job, sentence))
            job.run.lease = None
    if sentence:
        host.log(f"{host.name}: {sentence}", outcome.ERROR)
        job.run.fail(host.name, sentence)
    return not sentence


def _is_open(job: Job, sentence: str | None) -> bool:
    """Whether the next run has to ask for the pods: cut here, or nothing was there to take back."""
    return sentence is None or bool(sentence and not (job.changes or job.later))


def _changed(state: State, host: Host, job: Job) -> str:
    lease = Lease(job.api, *PLACE, what="the CNI")
    taken = lease.acquire(lambda text: host.log(f"{host.name}: {text}"))
    if taken:
        return f"{taken}; nothing was changed"
    job.run.lease = lease
    sentence = _back_up(state, host, job)
    if sentence:
        return f"{sentence}; nothing was changed"
    done: list[Change] = []
    try:
        cluster_objects.apply(job.api, job.changes, done)
        sentence = _wait(host, job) or _after(host, job, done)
    except ClusterError as error:
        sentence = str(error)
    if not sentence:
        return ""
    if not done:
        return (
            f"{sentence}; what a run that was cut had changed stays, and how it was before is in"
            f" {job.backup}-objects on the computer it ran on"
        )
    host.log(f"{host.name}: {sentence}; taking it back", outcome.ERROR)
    left = cluster_objects.undo(job.api, done)
    if left:
        return f"{sentence}; it could not be taken back: {'; '.join(left)}"
    return f"{sentence}; everything is as it was before"


def _after(host: Host, job: Job, done: list[Change]) -> str:
    """Objects that had to wait; "" or why they could not be applied."""
    if not job.later or not job.wait_s:
        return ""
    wanted = [found.wanted for found in job.later]
    compared = cluster_objects.compare(job.api, wanted, job.take_over)
    if compared.refusals:
        return compared.refusals[0]
    cluster_objects.apply(job.api, compared.changes, done)
    return ""


def _back_up(state: State, host: Host, job: Job) -> str:
    """The nodes' files and the objects as they are now; "" or why they could not be taken."""
    parts, failed = take(list(state.active_hosts))
    if failed:
        name, reason = next(iter(failed.items()))
        return f"no backup of {name}: {reason}"
    now = datetime.now(timezone.utc)
    count = write_backup(job.backup, now, parts)
    every = (*job.changes, *job.later)
    before = [found.before for found in every if found.before is not None]
    folder = Path(f"{job.backup}-objects")
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{job.cni}-{now:%Y%m%dT%H%M%SZ}.json"
    found = {"apiVersion": "v1", "kind": "List", "items": before}
    path.touch(mode=0o600)
    path.write_text(json.dumps(found, indent=1) + "\n")
    host.log(f"{host.name}: backup: {count} files in {job.backup}, {len(before)} objects in {path}")
    return ""


def _wait(host: Host, job: Job) -> str:
    if not job.wait_s:
        outcome.note(host, f"{host.name}: {job.cni}: nobody waits for its pods (wait_s is 0)")
        return ""

    def complaint() -> str:
        for kind, name, namespace in job.waits_for:
            found = job.api.find(kind, name, namespace)
            text = (
                cluster_objects.not_rolled_out(found)
                if found
                else f"{kind.name} {name} is not there"
            )
            if text:
                return text
        return job.verify()

    return cluster_objects.wait(
        complaint, seconds=job.wait_s, tell=lambda text: host.log(f"{host.name}: {text}")
    )


def _is_lost(state: State, name: str) -> bool:
    found = state.inventory.get_host(name)
    return found not in state.active_hosts or found in state.failed_hosts
