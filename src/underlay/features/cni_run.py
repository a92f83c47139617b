"""One run that changes a CNI: what every CNI's deploy does in the same way.

The rule: every node is checked and a backup is on this computer before the first object changes; a
change whose pods do not come up is taken back, and the run fails. A lease that is left says that a
run was cut before it knew: the next one waits for the pods, whatever else it finds to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import operation
from pyinfra.api.state import State, StateStage
from pyinfra.context import host, state

from underlay.cluster import Api
from underlay.errors import ClusterError
from underlay.features import cni_change
from underlay.features.cni_job import Job
from underlay.operations import outcome
from underlay.operations.cluster_change import as_text, texts
from underlay.settings import Fleet

T = TypeVar("T")
Steps = Generator[PyinfraCommand, None, None]


class OncePerRun(Generic[T]):
    """What the API server says before anything is changed, read once per run for all hosts."""

    def __init__(self, read: Callable[[Fleet, Api], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._found: WeakKeyDictionary[Inventory, T] = WeakKeyDictionary()

    def __call__(self, state: State, fleet: Fleet, api: Api) -> T:
        """The same for every host; deploy bodies of all hosts may ask at once."""
        with self._lock:
            if state.inventory not in self._found:
                self._found[state.inventory] = self._read(fleet, api)
            return self._found[state.inventory]


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
        before, after = texts(found)
        if found.before is None:
            host.log(f"{host.name}: make {found}")
        else:
            host.log(f"{host.name}: change {found}")
            outcome.show_lines(host, str(found), before, after)
    for gone in job.removals:
        host.log(f"{host.name}: when all else runs, remove {gone}")
        outcome.show_lines(host, str(gone), as_text(gone.before), "")
    if job.cut:
        host.log(f"{host.name}: a run before this one was cut; its pods must come up as well")
    yield FunctionCommand(cni_change.change, [job], {})


@operation()
def finish(job: Job) -> Steps:
    """Fail every host when the change failed: a run with a rollback must not end in success."""
    if job.run.halted:
        yield from outcome.fail(f"{host.name}: {job.run.halted}")
    else:
        host.noop("done")


def _is_lost(state: State, name: str) -> bool:
    found = state.inventory.get_host(name)
    return found not in state.active_hosts or found in state.failed_hosts
