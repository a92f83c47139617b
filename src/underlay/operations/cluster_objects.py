"""Objects of the Kubernetes API to what is wanted: compared by the server, shown, applied, undone.

The rule: the API server itself says what an apply would change (server-side apply as a dry run), so
that defaults, conversions and fields of others never look like a difference of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from underlay.cluster import Api, Object
from underlay.cluster.api import FIELD_MANAGER
from underlay.cluster.objects import NAMESPACE, NODE, kind_of
from underlay.errors import ApiSilentError, ClusterError, ConflictError, MissingError
from underlay.operations.cluster_change import (
    Change,
    applied,
    dropped,
    is_going,
    meaning,
    restorable,
    without,
)

#: Seconds until a kind that was made is served, and until an object that was deleted is gone.
SERVED, GONE = 60.0, 60.0

#: Seconds between two looks, and between two lines that tell a person what is waited for.
POLL, TELL = 2.0, 10.0


@dataclass(frozen=True)
class Comparison:
    """What differs, in the order given, and why it may not be changed."""

    changes: tuple[Change, ...]
    refusals: tuple[str, ...]


def compare(api: Api, wanted: Iterable[Object], take_over: Iterable[str] = ()) -> Comparison:
    """Ask the server what applying each object would change.

    take_over: field managers whose fields may become ours; our own is always among them, because a
    field that a rollback wrote counts as another manager's.
    """
    allowed = {FIELD_MANAGER, *take_over}
    changes: list[Change] = []
    refusals: list[str] = []
    ending: set[str] = set()
    for found in wanted:
        try:
            change = _compared(api, found, allowed, ending)
        except ConflictError as error:
            refusals.append(str(error))
            continue
        if change is not None:
            changes.append(change)
    return Comparison(tuple(changes), tuple(refusals))


def _compared(api: Api, wanted: Object, allowed: set[str], ending: set[str]) -> Change | None:
    """ending: namespaces that are being deleted; they take nothing new and lose what is there."""
    meta = wanted["metadata"]
    kind = kind_of(wanted["apiVersion"], wanted["kind"])
    before = api.find(kind, meta["name"], meta.get("namespace"))
    if is_going(before) or meta.get("namespace") in ending:
        if kind is NAMESPACE:
            ending.add(meta["name"])
        return Change(wanted, None, wanted, going=True)
    force, given, gone = False, applied(wanted), dropped(wanted)
    try:
        try:
            after = api.apply(given, dry_run=True, force=False)
        except ConflictError as error:
            if not {manager for manager, _ in error.owners} <= allowed:
                raise
            force = True
            after = api.apply(given, dry_run=True, force=True)
    except MissingError:
        # its namespace or its kind is made by an object before it
        after = given
    after = without(after, gone) if gone else after
    if before is not None and meaning(before) == meaning(after):
        return None
    return Change(wanted, before, after, force)


def moved(api: Api, changes: Iterable[Change]) -> str:
    """Which object is not any more what it was compared with: putting it back would lose that."""
    for change in changes:
        if change.kind is NODE or change.going:
            # its kubelet writes to it all the time, and only our annotations go back; what is on
            # its way out is waited for and made anew
            continue
        meta = change.wanted["metadata"]
        found = api.find(change.kind, meta["name"], meta.get("namespace"))
        then, now = (None if one is None else meaning(one) for one in (change.before, found))
        if then != now:
            return f"{change} was changed since this run has looked at it; run it again"
    return ""


def apply(
    api: Api, changes: Sequence[Change], done: list[Change], *, served_s: float = SERVED
) -> None:
    """Apply in order; `done` holds what was begun, so that it can be undone when this raises.

    served_s: seconds in which a kind must be served, or MissingError.
    """
    for change in changes:
        done.append(change)
        _apply(api, change, served_s)


def _apply(api: Api, change: Change, served_s: float) -> None:
    """A kind that was made a moment ago is not served at once; what is deleted is not gone so."""
    if change.going and _wait_for_end(api, change):
        raise ClusterError(
            f"{change}: is being deleted and does not go; its finalizers say who must let go of it"
        )
    deadline = time.monotonic() + served_s
    while True:
        try:
            api.apply(applied(change.wanted), force=change.force)
            if gone := dropped(change.wanted):
                meta = change.wanted["metadata"]
                api.merge(change.kind, meta["name"], {"metadata": {"annotations": gone}})
        except MissingError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(POLL)
        else:
            return


def undo(api: Api, done: Sequence[Change]) -> list[str]:
    """Put back what was there, the latest first; what could not be."""
    left = []
    for change in reversed(done):
        meta = change.wanted["metadata"]
        try:
            if change.kind is NODE:
                # its other fields change all the time; only what we wrote goes back
                old = change.before["metadata"].get("annotations") or {} if change.before else {}
                ours = {key: old.get(key) for key in meta["annotations"]}
                api.merge(NODE, meta["name"], {"metadata": {"annotations": ours}})
            elif change.before is None:
                api.delete(change.kind, meta["name"], meta.get("namespace"))
                _gone(api, change)
            else:
                api.replace(change.kind, restorable(change.before))
        except ClusterError as error:
            left.append(str(error))
    return left


def _gone(api: Api, change: Change) -> None:
    """What its operator must take down goes before the operator does."""
    if not change.kind.version.startswith("operator."):
        return
    if _wait_for_end(api, change):
        raise ClusterError(f"{change}: its operator does not take it down; see the operator's log")


def _wait_for_end(api: Api, change: Change) -> str:
    """Wait until an object that was deleted is gone; "" or a complaint."""
    meta = change.wanted["metadata"]
    return wait(
        lambda: (
            "still there" if api.find(change.kind, meta["name"], meta.get("namespace")) else ""
        ),
        seconds=GONE, tell=lambda text: None,
    )  # fmt: skip


def not_rolled_out(found: Object) -> str:
    """What a DaemonSet or Deployment still waits for, "" when all its pods run what is wanted."""
    meta, status = found["metadata"], found.get("status") or {}
    name = f"{found['kind']} {meta['name']}"
    if int(status.get("observedGeneration", 0)) < int(meta.get("generation", 1)):
        return f"{name}: its controller has not seen it yet"
    if found["kind"] == "DaemonSet":
        wanted = int(status.get("desiredNumberScheduled", 0))
        new, ready = (int(status.get(k, 0)) for k in ("updatedNumberScheduled", "numberAvailable"))
    else:
        wanted = int(found["spec"].get("replicas", 1))
        new, ready = (int(status.get(k, 0)) for k in ("updatedReplicas", "availableReplicas"))
    if new >= wanted and ready >= wanted:
        return ""
    return f"{name}: {min(new, ready)} of {wanted} pods run the new version"


def wait(
    judge: Callable[[], str], *, seconds: float, tell: Callable[[str], Any], hold: float = 0.0
) -> str:
    """Ask until `judge` has had no complaint for `hold` seconds in a row.

    "" or its last complaint when `seconds` are over; a time without complaint is always waited out.
    """
    started = told = time.monotonic()
    quiet: float | None = None
    while True:
        try:
            complaint = judge()
        except ApiSilentError as error:
            complaint = str(error)
        now = time.monotonic()
        if complaint:
            quiet = None
            if now - started > seconds:
                return complaint
        else:
            quiet = now if quiet is None else quiet
            if now - quiet >= hold:
                return ""
        if now - told >= TELL:
            tell(f"{now - started:.0f} s, {complaint or 'all well so far, still watching'}")
            told = now
        time.sleep(POLL)
