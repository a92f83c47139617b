"""RBAC as the API server does it, around any simulated one, with the rules of docs/rbac/*.yaml.

A grant by `resourceNames` allows only a request or a review that names one of them; a request to
create or list names nothing, so such a grant never allows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from underlay.cluster.objects import ACCESS_REVIEW, Kind, kind_of
from underlay.errors import ClusterError, MissingError

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs/rbac"
PATH = re.compile(
    r"/apis?/(?:(?P<group>[\w.]+\.\w+|apps)/)?v\w+(?:/namespaces/(?P<namespace>[\w-]+))?"
    r"/(?P<plural>\w+)(?:/(?P<name>[\w:-]+))?(?:/(?P<sub>\w+))?(?:/metrics)?"
)


@dataclass(frozen=True)
class Right:
    """One grant; namespace "" for all, name "" for any; a path has resource `/...` and no group."""

    namespace: str
    group: str
    resource: str
    name: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}".rstrip()

    def allows(self, namespace: str, group: str, resource: str, name: str, verb: str) -> bool:
        """Whether it is enough for a request or a review."""
        return (
            self.namespace in ("", namespace)
            and (self.group, self.verb) == (group, verb)
            and self.resource in (resource, "*")
            and self.name in ("", name)
        )


def granted(*files: str, without: str = "") -> set[Right]:
    """Every right of these files of docs/rbac; without: one of them, as `patch leases x`."""
    found = set()
    for file in files:
        for role in yaml.safe_load_all((FOLDER / file).read_text()):
            namespace = role["metadata"].get("namespace", "")
            for rule in role.get("rules", []):
                found |= set(_rights(rule, namespace))
    assert not without or any(str(right) == without for right in found), without
    return {right for right in found if str(right) != without}


def _rights(rule: dict[str, Any], namespace: str) -> Iterable[Right]:
    for verb in rule["verbs"]:
        for path in rule.get("nonResourceURLs", []):
            yield Right("", "", path, "", verb)
        for group in rule.get("apiGroups", []):
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    yield Right(namespace, group, resource, name, verb)


def asked(method: str, path: str) -> tuple[str, str, str, str, str]:
    """Namespace, group, resource, name and verb that a plain request reads."""
    found = PATH.fullmatch(path)
    if found is None:
        return "", "", path, "", method.lower()
    part = found.groupdict("")
    verb = "get" if part["name"] else "list"
    resource = "/".join(filter(None, (part["plural"], part["sub"])))
    return part["namespace"], part["group"], resource, part["name"], verb


class Guard:
    """Refuses every call to a simulated API server that no right allows; used: the others'."""

    def __init__(self, world: Any, rights: set[Right]) -> None:
        self.used: set[Right] = set()
        self._rights = rights
        self._world = world
        named: dict[str, Callable[..., Iterable[tuple[str, str]]]] = {
            "get": lambda kind, name, *_: [("get", name)],
            "find": lambda kind, name, *_: [("get", name)],
            "merge": lambda kind, name, *_: [("patch", name)],
            "delete": lambda kind, name, *_: [("delete", name)],
            "list": lambda kind, *_: [("list", "")],
            "create": lambda kind, *_: [("create", "")],
            "replace": lambda kind, found, *_: [("update", found["metadata"]["name"])],
        }
        places = {"get": 2, "find": 2, "merge": 3, "delete": 2, "list": 1, "create": 2}
        for method, verbs in named.items():
            if hasattr(world, method):
                self._wrap(method, verbs, places.get(method))
        self._wrap_others()

    def _wrap(
        self, method: str, verbs: Callable[..., Iterable[tuple[str, str]]], place: int | None
    ) -> None:
        real = getattr(self._world, method)

        def call(*given: Any, **named: Any) -> Any:
            if place is None:
                namespace = given[1]["metadata"].get("namespace")
            else:
                namespace = given[place] if len(given) > place else named.get("namespace")
            for verb, name in verbs(*given):
                self._check(verb, given[0], name, namespace)
            if given[0] is ACCESS_REVIEW:
                return {"status": {"allowed": self._reviewed(given[1]["spec"])}}
            return real(*given, **named)

        setattr(self._world, method, call)

    def _wrap_others(self) -> None:
        world = self._world
        version = world.version
        request: Any = getattr(world, "request", None)
        apply: Any = getattr(world, "apply", None)

        def versioned() -> str:
            self._allow("", "", "/version", "", "get")
            return str(version())

        def requested(method: str, path: str, **named: Any) -> Any:
            if path.endswith("/eviction"):
                self._allow(path.split("/")[4], "", "pods/eviction", "", "create")
            else:
                self._allow(*asked(method, path))
            return request(method, path, **named)

        def applied(found: dict[str, Any], **named: Any) -> Any:
            kind, meta = kind_of(found["apiVersion"], found["kind"]), found["metadata"]
            place = meta.get("namespace", "")
            self._check("patch", kind, meta["name"], place)
            self._no_more_than_ours(found)
            if (kind.name, place, meta["name"]) not in world.objects:
                # an apply that makes the object is asked for this too
                self._check("create", kind, meta["name"], place)
            return apply(found, **named)

        world.version = versioned
        if request is not None:
            world.request = requested
        if apply is not None:
            world.apply = applied

    def _no_more_than_ours(self, found: dict[str, Any]) -> None:
        """Nobody gives away what he has not; a binding gives away what its role holds."""
        given = found
        if found["kind"] == "ClusterRoleBinding":
            name = found["roleRef"]["name"]
            given = self._world.objects.get(("ClusterRole", "", name))
            if given is None:
                raise MissingError(f"ClusterRole {name}: not there")
        for rule in given.get("rules", []) if "ClusterRole" in found["kind"] else []:
            for right in _rights(rule, ""):
                self._allow(right.namespace, right.group, right.resource, right.name, right.verb)

    def _check(self, verb: str, kind: Kind, name: str, namespace: str | None) -> None:
        group = kind.version.rpartition("/")[0]
        self._allow(namespace or "", group, kind.plural, name, verb)

    def _allow(self, *wanted: str) -> None:
        found = {right for right in self._rights if right.allows(*wanted)}
        if not found:
            namespace, _, resource, name, verb = wanted
            raise ClusterError(f"Kubernetes API: 403 {verb} {resource} {name} in {namespace!r}")
        self.used |= found

    def _reviewed(self, spec: dict[str, Any]) -> bool:
        asked = {"namespace": "", "group": "", "name": "", **spec["resourceAttributes"]}
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        wanted = (asked["namespace"], asked["group"], resource, asked["name"], asked["verb"])
        return any(right.allows(*wanted) for right in self._rights)


def unused(rights: set[Right], guard: Guard) -> set[str]:
    """Rights that a run never needed."""
    return {str(right) for right in rights - guard.used}
