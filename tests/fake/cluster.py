"""An API server in memory: objects, who owns which field, and what is refused.

Server-side apply as the real one does it, for fields of mappings: a list counts as one value.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fake.world import Killed

from underlay.cluster.objects import KINDS, Kind, kind_of
from underlay.errors import ClusterError, ConflictError, MissingError

Object = dict[str, Any]
Path = tuple[str, ...]


#: Who wrote a field without applying it: an apply of the same manager does not take it away.
UPDATED = " (Update)"
OURS_UPDATED = f"underlay{UPDATED}"


def _prefixed(path: Path) -> Path:
    return tuple(f"f:{key}" for key in path)


def leaves(found: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field below an object with its path."""
    if isinstance(found, dict) and found:
        for key, value in found.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, found


@dataclass
class Cluster:
    """objects: (kind, namespace, name) -> object; owners: the same -> path -> manager; calls: what
    was asked, writes first in `writes`; refuse: asked before every write; ready: whether the pods
    of a workload come up; power: calls that are answered; lasting: calls that a namespace or an
    object of an operator lives on after it was deleted.
    """

    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    owners: dict[tuple[str, str, str], dict[Path, str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refuse: Callable[[str], bool] = lambda call: False
    ready: Callable[[Object], bool] = lambda found: True
    power: int | None = None
    spent: int = 0
    lasting: int = 0
    going: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def put(self, found: Object, manager: str = "kubectl") -> None:
        """An object of somebody else."""
        key = self._key(found)
        self.objects[key] = copy.deepcopy(found)
        self.owners[key] = dict.fromkeys((path for path, _ in _owned(found)), manager)

    @property
    def writes(self) -> list[str]:
        """What was changed, in order, without leases."""
        return [call for call in self.calls if call.split()[0] != "get" and "Lease" not in call]

    def state(self) -> dict[tuple[str, str, str], Object]:
        """Everything but leases."""
        found = {key: value for key, value in self.objects.items() if key[0] != "Lease"}
        return copy.deepcopy(found)

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """One object with a status, as a controller would write it."""
        self.spend(f"get {kind.name} {name}")
        found = self._shown((kind.name, namespace or "", name))
        if found is not None and kind.name in ("DaemonSet", "Deployment"):
            ready = int(self.ready(found))
            found["status"] = {
                "observedGeneration": 1, "desiredNumberScheduled": 1,
                "updatedNumberScheduled": ready, "numberAvailable": ready,
                "updatedReplicas": ready, "availableReplicas": ready,
            }  # fmt: skip
        return found

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """The same; an error when there is none."""
        found = self.find(kind, name, namespace)
        if found is None:
            raise MissingError(f"{kind.name} {name}: not there")
        return found

    def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind."""
        self.spend(f"get {kind.plural}")
        return [found for key in self.objects if key[0] == kind.name
                if (found := self._shown(key)) is not None]  # fmt: skip

    def request(self, method: str, path: str, **_: object) -> tuple[int, str]:
        """All objects of a kind as the server writes them; of one that has none, nothing."""
        for kind in KINDS:
            items = [o for key, o in self.objects.items() if key[0] == kind.name]
            if kind.path() == path and items:
                found = {"apiVersion": kind.version, "kind": f"{kind.name}List", "items": items}
                return 200, json.dumps(found)
        return 404, ""

    def apply(
        self, found: Object, *, manager: str = "underlay", dry_run: bool = False, force: bool = True
    ) -> Object:
        """Server-side apply."""
        key = self._key(found)
        if dry_run:
            self.spend(f"get {key[0]} {key[2]} as it would be")
        else:
            self._write(f"apply {key[0]} {key[2]}")
        if key[1] and ("Namespace", "", key[1]) not in self.objects:
            raise MissingError(f"{key[0]} {key[2]}: no namespace {key[1]}")
        if key not in self.objects and ("Namespace", "", key[1]) in self.going:
            raise ClusterError(f"{key[0]} {key[2]}: {key[1]} is being terminated (403)")
        owners = dict(self.owners.get(key, {}))
        result = copy.deepcopy(self.objects.get(key, {}))
        wanted = dict(_owned(found))
        conflicts = [
            (owners[path].removesuffix(UPDATED), "." + ".".join(path))
            for path, value in wanted.items()
            if owners.get(path, manager) != manager and _at(result, path) != value
        ]
        if conflicts and not force:
            raise ConflictError(f"{key[0]} {key[2]}", tuple(conflicts))
        for path in [p for p, owner in owners.items() if owner == manager and p not in wanted]:
            _remove(result, path)
            del owners[path]
        for path, value in leaves(found):
            _set(result, path, copy.deepcopy(value))
        for path, value in wanted.items():
            if owners.get(path) is None or _at(self.objects.get(key, {}), path) != value:
                owners[path] = manager
        result["metadata"]["resourceVersion"] = str(len(self.calls))
        if not dry_run:
            self.objects[key], self.owners[key] = copy.deepcopy(result), owners
        return result

    def replace(self, kind: Kind, found: Object) -> Object:
        """Put an object in place of another."""
        self._write(f"replace {kind.name} {found['metadata']['name']}")
        clean = {name: value for name, value in found.items() if name != "status"}
        self.objects[self._key(found)] = copy.deepcopy(clean)
        return found

    def create(self, kind: Kind, found: Object, namespace: str | None = None) -> Object:
        """Make an object."""
        self._write(f"create {kind.name} {found['metadata']['name']}")
        self.put(found, "underlay")
        key = self._key(found)
        self.objects[key]["metadata"]["resourceVersion"] = str(len(self.calls))
        return copy.deepcopy(self.objects[key])

    def merge(
        self, kind: Kind, name: str, change: Object, namespace: str | None = None, **_: object
    ) -> Object:
        """A merge patch; None removes."""
        self._write(f"merge {kind.name} {name}")
        found = self.objects[kind.name, namespace or "", name]
        wanted = change.get("metadata", {}).get("resourceVersion")
        assert wanted in (None, found["metadata"].get("resourceVersion"))
        owners = self.owners.setdefault((kind.name, namespace or "", name), {})
        for path, value in leaves(change):
            if value is None:
                _remove(found, path)
                owners.pop(path, None)
            else:
                if _at(found, path) != value:
                    owners[path] = OURS_UPDATED
                _set(found, path, value)
        found["metadata"]["resourceVersion"] = str(len(self.calls))
        return copy.deepcopy(found)

    def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, uid: str = "",
        version: str = "",
    ) -> None:  # fmt: skip
        """Delete an object, of this version only when one is given."""
        self._write(f"delete {kind.name} {name}")
        key = (kind.name, namespace or "", name)
        there = self.objects.get(key, {"metadata": {}})["metadata"]
        if version and there.get("resourceVersion") != version:
            return
        if self.lasting and key in self.objects and kind.name in ("Namespace", "Installation"):
            self.going.setdefault(key, self.lasting)
            self.objects[key]["metadata"]["deletionTimestamp"] = "then"
        else:
            self._end(key)

    def version(self) -> str:
        """Of the server."""
        return "v1.34.0"

    def _shown(self, key: tuple[str, str, str]) -> Object | None:
        """An object as it is read: with who wrote its fields."""
        if key not in self.objects:
            return None
        found = copy.deepcopy(self.objects[key])
        fields: dict[str, Object] = {}
        for path, owner in self.owners.get(key, {}).items():
            _set(fields.setdefault(owner.removesuffix(UPDATED), {}), _prefixed(path), {})
        found["metadata"]["managedFields"] = [
            {"manager": manager, "fieldsV1": paths} for manager, paths in fields.items()
        ]
        return found

    def _end(self, key: tuple[str, str, str]) -> None:
        """Gone; a namespace with all that is in it."""
        inside = [each for each in self.objects if key[0] == "Namespace" and each[1] == key[2]]
        for each in (key, *inside):
            self.objects.pop(each, None)
            self.owners.pop(each, None)

    def spend(self, call: str) -> None:
        """One call, of the API server or of a host: time passes, and the power may end."""
        if self.power is not None and self.spent >= self.power:
            raise Killed(call)
        self.spent += 1
        self.calls.append(call)
        for key in [*self.going]:
            self.going[key] -= 1
            if not self.going[key]:
                del self.going[key]
                self._end(key)

    def _write(self, call: str) -> None:
        self.spend(call)
        if self.refuse(call):
            raise ClusterError(f"Kubernetes API: refused ({call})")

    @staticmethod
    def _key(found: Object) -> tuple[str, str, str]:
        kind_of(found["apiVersion"], found["kind"])
        meta = found["metadata"]
        return found["kind"], meta.get("namespace", ""), meta["name"]


def _owned(found: Object) -> Iterator[tuple[Path, Any]]:
    """Fields that have an owner: all but what names the object."""
    for path, value in leaves(found):
        if path[0] not in ("apiVersion", "kind") and path[:2] not in (
            ("metadata", "name"), ("metadata", "namespace"), ("metadata", "resourceVersion"),
        ):  # fmt: skip
            yield path, value


def _at(found: Any, path: Path) -> Any:
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _set(found: Object, path: Path, value: Any) -> None:
    for key in path[:-1]:
        found = found.setdefault(key, {})
    found[path[-1]] = value


def _remove(found: Object, path: Path) -> None:
    for key in path[:-1]:
        found = found.get(key, {})
    found.pop(path[-1], None)
