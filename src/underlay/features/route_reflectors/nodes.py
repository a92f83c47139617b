"""Make a node of the cluster a reflector, or unmake it."""

from __future__ import annotations

from collections.abc import Mapping

from underlay.cluster import Api
from underlay.cluster.objects import NODE
from underlay.features.route_reflectors import plan
from underlay.features.route_reflectors.plan import Mark


def set_mark(api: Api, node: str, mark: Mark, label: str) -> None:
    """Cluster id and label in one write, so that the node changes sides once."""
    annotations: Mapping[str, str | None] = {plan.ID: mark.cluster_id}
    labels: Mapping[str, str | None] = {label: mark.label}
    meta = {"annotations": dict(annotations), "labels": dict(labels)}
    api.merge(NODE, node, {"metadata": meta})
