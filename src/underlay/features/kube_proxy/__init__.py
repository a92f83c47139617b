"""kube-proxy's mode, changed node by node with proof and a way back."""

from __future__ import annotations

from underlay.features.kube_proxy.rules import RULES
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.model import Feature

FEATURE = Feature(
    name="kube_proxy",
    title="kube-proxy mode",
    sections=(KubeProxy,),
    deploys=("proxy_mode", "proxy_rollback", "ipvs_migrate", "ipvs_rollback"),
    rules=RULES,
)
