"""Whether the user of a run may do what it needs, asked of the API server before anything changes.

The rule: a right on one object is asked with that object's name, for a role that grants it by
`resourceNames` allows no other question; `create` is asked without one, because no role can limit
it by name (Kubernetes reference, "Using RBAC Authorization", "Referring to resources").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from underlay.cluster.api import Api
from underlay.cluster.objects import ACCESS_REVIEW, Kind


@dataclass(frozen=True)
class Right:
    """One right.

    resource: plural as in paths, `pods/eviction` for a subresource; group: of the API, "" for the
    core; namespace: "" for all of them or none; name: of the one object, "" for any.
    """

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.verb} {self.resource} {self.name}".rstrip()
        return f"{what} in {self.namespace}" if self.namespace else what


def on(kind: Kind, verbs: Iterable[str], name: str = "", namespace: str = "") -> tuple[Right, ...]:
    """Rights on one object of a kind; the one to create it is on any object."""
    group = kind.version.rpartition("/")[0]
    return tuple(
        Right(verb, kind.plural, group, namespace, "" if verb == "create" else name)
        for verb in verbs
    )


def denied(api: Api, rights: Iterable[Right]) -> tuple[str, ...]:
    """What may not be done, one sentence each; empty when all may be."""
    return tuple(
        f"the user of this run may not {right}; grant it the role in docs/rbac.md"
        for right in rights
        if not _allowed(api, right)
    )


def _allowed(api: Api, right: Right) -> bool:
    resource, _, sub = right.resource.partition("/")
    asked = {
        "group": right.group, "resource": resource, "subresource": sub, "verb": right.verb,
        "namespace": right.namespace, "name": right.name,
    }  # fmt: skip
    review = {
        "apiVersion": ACCESS_REVIEW.version,
        "kind": ACCESS_REVIEW.name,
        "metadata": {},
        "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
    }
    answer = api.create(ACCESS_REVIEW, review)
    return bool((answer.get("status") or {}).get("allowed"))
