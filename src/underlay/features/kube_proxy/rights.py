"""What a migration may have to change in the cluster, so that its rights are asked for first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from underlay.cluster.objects import CONFIG_MAP, LEASE, NODE, POD
from underlay.cluster.rights import Right, on
from underlay.features.kube_proxy.units import NAMESPACE

#: Of the lease that a migration holds.
LEASE_NAME = "underlay-kube-proxy"

#: What `rollout.take_out` needs on top of it.
_TO_TAKE_OUT: Mapping[str, tuple[Right, ...]] = {
    "cordon": on(NODE, ["patch"]),
    "drain": (*on(NODE, ["patch"]), Right("create", "pods/eviction")),
}


def needed(config_maps: Sequence[str], take_out: str = "no") -> tuple[Right, ...]:
    """Every right that changes something.

    config_maps: names of kube-proxy's; take_out: of the settings.
    """
    return (
        *on(POD, ["delete"], namespace=NAMESPACE),
        *on(LEASE, ["create", "get", "patch", "delete"], LEASE_NAME, NAMESPACE),
        *(right for name in config_maps for right in on(CONFIG_MAP, ["patch"], name, NAMESPACE)),
        *_TO_TAKE_OUT.get(take_out, ()),
    )
