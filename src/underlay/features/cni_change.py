"""The change itself: lease, backup, apply, wait, or take back. One host of the run does it.

The rule: nothing counts as done at the moment in which it looks right. A change without new pods
(Felix, pools) shows in the pods of before, so they are watched for a while after it.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

from pyinfra.api.host import Host
from pyinfra.api.state import State

from underlay.cluster import Api
from underlay.cluster.lease import Lease
from underlay.cluster.leased import leased
from underlay.errors import ClusterError, MissingError
from underlay.features.cni_job import PLACE, Job
from underlay.features.preflight.backup import write_backup
from underlay.features.preflight.cluster_objects import configuration
from underlay.features.preflight.copying import take
from underlay.operations import cluster_objects, cluster_removals, outcome
from underlay.operations.cluster_change import Change, kept, meaning

#: In the backup of a run: what it changes, as it was, for `kubectl apply -f`.
OBJECTS = "objects.json"


def change(state: State, host: Host, job: Job) -> bool:
    """Bring the objects to the plan; False, and the run is halted, when that failed."""
    sentence: str | None = None
    try:
        sentence = _changed(state, host, job)
    except ClusterError as error:
        sentence = str(error)
    finally:
        job.run.give_back(keep=_is_open(job, sentence))
    if sentence:
        host.log(f"{host.name}: {sentence}", outcome.ERROR)
        job.run.fail(host.name, sentence)
    return not sentence


def _is_open(job: Job, sentence: str | None) -> bool:
    """Whether the next run has to ask for the pods: cut here, or what a run before left open is."""
    return sentence is None or bool(sentence and job.cut)


def _changed(state: State, host: Host, job: Job) -> str:
    lease = Lease(job.api, *PLACE, what="the CNI")
    taken = lease.acquire(lambda text: host.log(f"{host.name}: {text}"))
    if taken:
        return f"{taken}; nothing was changed"
    job.run.lease = lease
    sentence = _back_up(state, host, job)
    if sentence:
        return f"{sentence}; nothing was changed"
    ran = bool(job.wait_s) and not job.complaint()
    done: list[Change] = []
    api = leased(job.api, job.run.hold)
    try:
        cluster_objects.apply(api, job.changes, done)
        sentence = _proved(host, api, job, done)
    except ClusterError as error:
        sentence = str(error)
    if not sentence:
        return _removed(host, api, job)
    if not done:
        return (
            f"{sentence}; what a run that was cut had changed stays, and how it was before is in"
            f" {job.backup}-{job.cni}-DATE on the computer it ran on"
        )
    host.log(f"{host.name}: {sentence}; taking it back", outcome.ERROR)
    left = cluster_objects.undo(api, done)
    if left:
        return f"{sentence}; it could not be taken back: {'; '.join(left)}"
    still = _unwell(host, job) if ran else ""
    if still:
        return f"{sentence}; every object is as it was before, but its pods are not: {still}"
    return f"{sentence}; everything is as it was before"


def _removed(host: Host, api: Api, job: Job) -> str:
    """Delete what nobody uses any more; a failure takes nothing back: all else is proved."""
    names = ", ".join(map(str, job.removals))
    # where nobody waited, pods of before may still use it
    unproved = "" if job.wait_s or not names else job.complaint()
    if unproved:
        outcome.note(
            host,
            f"{host.name}: {names}: left there, because {unproved} and nobody waits (wait_s is 0);"
            " run it again when its pods run",
        )
        return ""
    try:
        cluster_removals.remove(api, job.removals)
    except ClusterError as error:
        return f"all else is as planned, but of {names} not everything could be removed: {error}"
    return ""


def _unwell(host: Host, job: Job) -> str:
    """What does not run again after the way back; "" when it does."""
    try:
        return _wait(host, job, 0.0)
    except ClusterError as error:
        return str(error)


def _proved(host: Host, api: Api, job: Job, done: list[Change]) -> str:
    """Wait for the pods, apply what had to wait for them, and see that they stay well."""
    if not job.wait_s:
        outcome.note(host, f"{host.name}: {job.cni}: nobody waits for its pods (wait_s is 0)")
        _without_waiting(host, api, job, done)
        return ""
    sentence = _wait(host, job, 0.0) or _after(api, job, done)
    return sentence or _wait(host, job, job.hold_s)


def _after(api: Api, job: Job, done: list[Change]) -> str:
    """Objects that had to wait; "" or why they could not be applied."""
    if not job.later:
        return ""
    wanted = [found.wanted for found in job.later]
    compared = cluster_objects.compare(api, wanted, job.take_over)
    if compared.refusals:
        return compared.refusals[0]
    cluster_objects.apply(api, compared.changes, done)
    return ""


def _without_waiting(host: Host, api: Api, job: Job, done: list[Change]) -> None:
    """The same, as far as their kinds are served at this moment."""
    for found in job.later:
        try:
            cluster_objects.apply(api, [found], done, served_s=0.0)
        except MissingError:
            done.pop()
            outcome.note(
                host,
                f"{host.name}: {found}: left out, because {job.cni} does not serve it yet and"
                " nobody waits (wait_s is 0); run it again when its pods run",
            )


def _wait(host: Host, job: Job, hold: float) -> str:
    return cluster_objects.wait(
        job.complaint, seconds=job.wait_s, hold=hold,
        tell=lambda text: host.log(f"{host.name}: {text}"),
    )  # fmt: skip


def _back_up(state: State, host: Host, job: Job) -> str:
    """As `underlay backup`, and the objects that change; "" or why there is none."""
    parts, failed = take(list(state.active_hosts))
    if failed:
        name, reason = next(iter(failed.items()))
        return f"no backup of {name}: {reason}"
    now_there = map(kept, (*job.changes, *job.later))
    before = [found for found in now_there if found is not None]
    before += [meaning(found.before) for found in job.removals]
    now = datetime.now(timezone.utc)
    try:
        folder = _new_folder(f"{job.backup}-{job.cni}-{now:%Y%m%dT%H%M%SZ}")
        count = write_backup(str(folder), now, parts, configuration(job.api))
        path = folder / OBJECTS
        path.touch(mode=0o600)
        found = {"apiVersion": "v1", "kind": "List", "items": before}
        path.write_text(json.dumps(found, indent=1) + "\n")
    except (OSError, ClusterError) as error:
        return f"no backup: {error}"
    host.log(f"{host.name}: backup: {folder}: {count} files, {len(before)} objects to put back")
    return cluster_objects.moved(job.api, job.changes)


def _new_folder(name: str) -> Path:
    """A folder that no backup has: two runs of one second keep one each."""
    place, number = Path(name), 2
    while place.exists():
        place, number = Path(f"{name}-{number}"), number + 1
    return place
