"""The API server of the cluster beneath a run, asked over the way that the settings name."""

from __future__ import annotations

from typing import Any

from underlay.cluster import Api
from underlay.cluster.of_run import api_of
from underlay.errors import ClusterError
from underlay.features.preflight.cluster_objects import view
from underlay.features.preflight.scene import ClusterView
from underlay.settings import Fleet
from underlay.settings.cluster import Cluster


def api(reached: Any, fleet: Fleet) -> Api:
    """The API server, from a connected host of the run; ClusterError says what was tried."""
    return api_of(reached.state, next(iter(fleet)).section(Cluster))


def cluster_view(reached: Any, fleet: Fleet) -> ClusterView:
    """What a pre-flight needs of it."""
    try:
        return view(api(reached, fleet))
    except ClusterError as error:
        return ClusterView(error="; ".join(line.strip() for line in str(error).splitlines()))
