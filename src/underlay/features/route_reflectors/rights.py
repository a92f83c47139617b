"""What a conversion may have to change in the cluster, so that its rights are asked for first."""

from __future__ import annotations

from underlay.cluster.objects import LEASE, NODE
from underlay.cluster.rights import Right, on
from underlay.features.route_reflectors.settings import RouteReflectors

#: Where the lease lies, and its name.
NAMESPACE, LEASE_NAME = "kube-system", "underlay-route-reflectors"


def needed(settings: RouteReflectors, group: str) -> tuple[Right, ...]:
    """Every right that changes something; group: of Calico's objects, "" for calicoctl's."""
    found = [
        *on(NODE, ["patch"]),
        *on(LEASE, ["create", "get", "patch", "delete"], LEASE_NAME, NAMESPACE),
    ]
    if settings.loaded == "drain":
        found.append(Right("create", "pods/eviction"))
    if group:
        found += [Right(verb, "bgppeers", group) for verb in ("create", "patch", "delete")]
        found += [Right(verb, "bgpconfigurations", group) for verb in ("create", "patch")]
    return tuple(found)
