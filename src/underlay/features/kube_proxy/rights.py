"""Whether the user of this run may do what a migration needs, asked before anything changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


#: What `rollout.take_out` needs on top of it.
_TO_TAKE_OUT: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "cordon": (("", "nodes", "patch"),),
    "drain": (("", "nodes", "patch"), ("", "pods/eviction", "create")),
}


def denied(api: Api, config_maps: Sequence[str], take_out: str = "no") -> tuple[str, ...]:
    """What may not be done, one sentence each; empty when all may be. take_out: of the settings."""
    asked = [
        *((group, resource, verb, "") for group, resource, verb in _NEEDED),
        *(("", "configmaps", "patch", name) for name in config_maps),
        *((group, resource, verb, "") for group, resource, verb in _TO_TAKE_OUT.get(take_out, ())),
    ]
    found = []
    for group, resource, verb, name in asked:
        kind, _, sub = resource.partition("/")
        everywhere = kind == "nodes" or bool(sub)
        attributes = {"group": group, "resource": kind, "verb": verb}
        more = {"namespace": "" if everywhere else NAMESPACE, "name": name, "subresource": sub}
        attributes.update({key: value for key, value in more.items() if value})
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
                + ("" if everywhere else f" in {NAMESPACE}")
                + "; grant it the role in docs/rbac.md"
            )
    return tuple(found)
