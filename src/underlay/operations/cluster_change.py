"""One object of the Kubernetes API and what becomes of it: shown, kept, put back. Pure.

The rule: of a Node only annotations are ours. One that is to go stands among the wanted ones as
None, because server-side apply takes away only what was applied, and not what a rollback wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from underlay.cluster import Kind, Object
from underlay.cluster.objects import NODE, kind_of

#: Parts of an object that the server writes by itself.
_OWN = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


@dataclass(frozen=True)
class Change:
    """One object that is not as wanted.

    before: None when it is to be made; force: take it over; going: one that is being deleted, or
    whose namespace is, has its name, and must be gone first.
    """

    wanted: Object
    before: Object | None
    after: Object
    force: bool = False
    going: bool = False

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return kind_of(self.wanted["apiVersion"], self.wanted["kind"])

    def __str__(self) -> str:
        meta = self.wanted["metadata"]
        place = f"{meta['namespace']}/" if meta.get("namespace") else ""
        return f"{self.wanted['kind']} {place}{meta['name']}"


def applied(wanted: Object) -> Object:
    """What is given to a server-side apply: the wanted object without annotations that go."""
    return without(wanted, gone) if (gone := dropped(wanted)) else wanted


def dropped(wanted: Object) -> dict[str, None]:
    """The annotations that go."""
    found = wanted["metadata"].get("annotations") or {}
    return {key: None for key, value in found.items() if value is None}


def without(found: Object, gone: Iterable[str]) -> Object:
    """An object without some annotations."""
    left = {
        key: value
        for key, value in (found["metadata"].get("annotations") or {}).items()
        if key not in gone
    }
    rest = {key: value for key, value in found["metadata"].items() if key != "annotations"}
    return {**found, "metadata": {**rest, **({"annotations": left} if left else {})}}


def contains(live: object, wanted: object) -> bool:
    """Whether every field that is wanted is there as wanted; null is the same as absent."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            value is None or contains(live.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(contains(a, b) for a, b in zip(live, wanted, strict=True))
        )
    return live == wanted


def is_going(found: Object | None) -> bool:
    """Whether an object is being deleted: it can be changed, and is gone all the same."""
    return found is not None and "deletionTimestamp" in found["metadata"]


def meaning(found: Object) -> Object:
    """An object without what the server writes by itself."""
    rest = {key: value for key, value in found.items() if key != "status"}
    meta = {key: value for key, value in found["metadata"].items() if key not in _OWN}
    return {**rest, "metadata": meta}


def kept(change: Change) -> Object | None:
    """What was there before a change, as `kubectl apply` takes it; None when nothing was."""
    if change.before is None:
        return None
    found = meaning(change.before)
    if change.kind is not NODE:
        return found
    old = found["metadata"].get("annotations") or {}
    ours = {key: old[key] for key in change.wanted["metadata"]["annotations"] if key in old}
    return {**change.wanted, "metadata": {"name": found["metadata"]["name"], "annotations": ours}}


def texts(change: Change) -> tuple[str, str]:
    """An object before and after, to be shown as a diff."""
    return as_text(change.before), as_text(change.after)


def restorable(before: Object) -> Object:
    """An object as it can be put in place of another version of it."""
    meta = {
        key: value
        for key, value in before["metadata"].items()
        if key not in ("managedFields", "resourceVersion")
    }
    return {**before, "metadata": meta}


def as_text(found: Object | None) -> str:
    """An object as YAML without what the server writes, "" for none."""
    if found is None:
        return ""
    written: str = yaml.safe_dump(meaning(found), sort_keys=True, width=100)
    return written
