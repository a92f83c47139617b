"""Whether the user of this run may do what a migration needs, asked before anything changes."""

from __future__ import annotations

from collections.abc import Sequence

from underlay.cluster import Api
from underlay.cluster.objects import ACCESS_REVIEW
from underlay.features.kube_proxy.units import NAMESPACE

#: What is changed: API group, resource, verb; names of ConfigMaps are added.
_NEEDED = (
    ("", "pods", "delete"),
    ("coordination.k8s.io", "leases", "create"),
    ("coordination.k8s.io", "leases", "patch"),
    ("coordination.k8s.io", "leases", "delete"),
)


def denied(api: Api, config_maps: Sequence[str]) -> tuple[str, ...]:
    """What may not be done, one sentence each; empty when all may be."""
    asked = [
        *((group, resource, verb, "") for group, resource, verb in _NEEDED),
        *(("", "configmaps", "patch", name) for name in config_maps),
    ]
    found = []
    for group, resource, verb, name in asked:
        attributes = {"namespace": NAMESPACE, "group": group, "resource": resource, "verb": verb}
        if name:
            attributes["name"] = name
        review = {
            "apiVersion": ACCESS_REVIEW.version,
            "kind": ACCESS_REVIEW.name,
            "metadata": {},
            "spec": {"resourceAttributes": attributes},
        }
        answer = api.create(ACCESS_REVIEW, review)
        if not answer.get("status", {}).get("allowed"):
            found.append(
                f"the user of this run may not {verb} {resource} {name}".rstrip()
                + f" in {NAMESPACE}; grant it the role in docs/rbac.md"
            )
    return tuple(found)
