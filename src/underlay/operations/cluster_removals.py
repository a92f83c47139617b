"""Objects that an earlier plan made and this one has no more: found, then deleted.

The rule: what somebody else wrote is told and left, and only the very object that was looked at is
deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from underlay.cluster import Api, Kind, Object
from underlay.cluster.api import FIELD_MANAGER
from underlay.cluster.owners import writers

#: Kind, name and namespace.
Place = tuple[Kind, str, str]


@dataclass(frozen=True)
class Removal:
    """One object that is to go; before: as it is."""

    kind: Kind
    before: Object

    def __str__(self) -> str:
        meta = self.before["metadata"]
        return f"{self.kind.name} {meta['namespace']}/{meta['name']}"


def surplus(
    api: Api, places: Iterable[Place], take_over: Iterable[str] = ()
) -> tuple[tuple[Removal, ...], tuple[str, ...]]:
    """What of these is there and ours, and what is not ours, each with who wrote it.

    take_over: field managers whose objects are ours, too.
    """
    allowed = {FIELD_MANAGER, *take_over}
    ours, others = [], []
    for kind, name, namespace in places:
        found = api.find(kind, name, namespace)
        if found is None or "deletionTimestamp" in found["metadata"]:
            continue
        removal, known = Removal(kind, found), writers(found)
        if known & allowed:
            ours.append(removal)
        else:
            others.append(f"{removal} of {', '.join(sorted(known)) or 'nobody that is known'}")
    return tuple(ours), tuple(others)


def remove(api: Api, removals: Iterable[Removal]) -> None:
    """Delete them in order; ClusterError leaves that one and those after it."""
    for found in removals:
        meta = found.before["metadata"]
        api.delete(found.kind, meta["name"], meta["namespace"], uid=str(meta.get("uid", "")))
