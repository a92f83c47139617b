"""Whether the user of this run may do what a conversion needs, asked before anything changes."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.cluster import Api
from underlay.cluster.objects import ACCESS_REVIEW
from underlay.features.route_reflectors.settings import RouteReflectors

#: Where the lease lies.
NAMESPACE = "kube-system"


def denied(api: Api, settings: RouteReflectors, group: str) -> tuple[str, ...]:
    """What may not be done, one sentence each; group: of Calico's objects, "" for calicoctl's."""
    found = []
    for where, wanted, verb in _needed(settings, group):
        kind, _, sub = wanted.partition("/")
        attributes = {"group": where, "resource": kind, "verb": verb}
        if sub:
            attributes["subresource"] = sub
        if kind == "leases":
            attributes["namespace"] = NAMESPACE
        review = {
            "apiVersion": ACCESS_REVIEW.version, "kind": ACCESS_REVIEW.name, "metadata": {},
            "spec": {"resourceAttributes": attributes},
        }  # fmt: skip
        answer = api.create(ACCESS_REVIEW, review)
        if not answer.get("status", {}).get("allowed"):
            found.append(
                f"the user of this run may not {verb} {wanted}; grant it the role in docs/rbac.md"
            )
    return tuple(found)


def _needed(settings: RouteReflectors, group: str) -> Iterator[tuple[str, str, str]]:
    yield "", "nodes", "patch"
    for verb in ("create", "patch", "delete"):
        yield "coordination.k8s.io", "leases", verb
    if settings.loaded == "drain":
        yield "", "pods/eviction", "create"
    if group:
        yield from ((group, "bgppeers", verb) for verb in ("create", "patch", "delete"))
        yield from ((group, "bgpconfigurations", verb) for verb in ("create", "patch"))
