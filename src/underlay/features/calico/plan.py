"""Calico as objects of the API: Installation, Felix, metrics. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from underlay.features.address_plan import Plan
from underlay.features.calico.settings import Calico, Pool
from underlay.settings.network import Network

Object = dict[str, Any]

OPERATOR = "operator.tigera.io/v1"
SERVED, STORED = "projectcalico.org/v3", "crd.projectcalico.org/v1"
CONFLIST = "10-calico.conflist"
FELIX_METRICS, TYPHA_METRICS = 9091, 9093

#: network.encapsulation -> Installation's word, and ipipMode and vxlanMode of an IPPool
ENCAPSULATIONS = {
    "none": ("None", "Never", "Never"),
    "vxlan": ("VXLAN", "Never", "Always"),
    "vxlan-cross-subnet": ("VXLANCrossSubnet", "Never", "CrossSubnet"),
    "ipip": ("IPIP", "Always", "Never"),
    "ipip-cross-subnet": ("IPIPCrossSubnet", "CrossSubnet", "Never"),
}
BLOCKS = {4: 26, 6: 122}
FOLLOWS = (3, 32)


@dataclass(frozen=True)
class WantedPool:
    """One pool with everything said."""

    name: str
    cidr: str
    block_size: int
    encapsulation: str
    nat_outgoing: bool
    node_selector: str
    disable_bgp_export: bool

    @property
    def v6(self) -> bool:
        """Whether it is of IPv6."""
        return ":" in self.cidr


def pools(settings: Calico, section: Network) -> tuple[WantedPool, ...]:
    """Every pool of the plan."""
    given = dict(settings.pools)
    if not given:
        if section.pod_cidr:
            given["default-ipv4-ippool"] = Pool(cidr=section.pod_cidr)
        if section.pod_cidr_v6:
            given["default-ipv6-ippool"] = Pool(cidr=section.pod_cidr_v6)
    return tuple(
        WantedPool(
            name=name,
            cidr=pool.cidr,
            block_size=pool.block_size or BLOCKS[6 if ":" in pool.cidr else 4],
            encapsulation=pool.encapsulation or pool_encapsulation(section),
            nat_outgoing=pool.nat_outgoing,
            node_selector=pool.node_selector,
            disable_bgp_export=pool.disable_bgp_export,
        )
        for name, pool in given.items()
    )


def pool_encapsulation(section: Network) -> str:
    """WireGuard is Felix's; without BGP somebody must still bring the routes."""
    if section.encapsulation == "wireguard":
        return "none" if section.bgp else "vxlan"
    return section.encapsulation


def dataplane(settings: Calico, proxy_mode: str) -> str:
    """Calico's rules and kube-proxy's must be of one kind."""
    if settings.install == "canal":
        # flannel of canal's age writes iptables rules
        return "iptables"
    return settings.dataplane or ("nftables" if proxy_mode == "nftables" else "iptables")


def follows_proxy(settings: Calico) -> bool:
    """Whether a Felix with nftables goes by kube-proxy's mode on its own node.

    Since v3.32 its Auto does, and the operator's Nftables means Auto (tigera/operator v1.42,
    setNftablesMode); before, it meant nftables whatever kube-proxy does.
    """
    return settings.install != "canal" and numbers(settings.version) >= FOLLOWS


def felix_nftables(settings: Calico, proxy_mode: str) -> str:
    """Felix's nftablesMode where no operator sets it."""
    wanted = dataplane(settings, proxy_mode)
    if follows_proxy(settings) and (wanted == "nftables" or settings.dataplane is None):
        return "Auto"
    return "Enabled" if wanted == "nftables" else "Disabled"


def numbers(version: str) -> tuple[int, ...]:
    """v3.32.1 as (3, 32, 1)."""
    return tuple(map(int, version.removeprefix("v").split(".")))


def autodetection(section: Network) -> Object:
    """How calico-node finds the node's address: never the first one found."""
    if section.transport:
        return {"interface": f"^{section.transport}$"}
    if section.node_cidr:
        return {"cidrs": [section.node_cidr]}
    return {"kubernetes": "NodeInternalIP"}


def installation(settings: Calico, plan: Plan, proxy_mode: str) -> Object:
    """The operator's Installation."""
    section = plan.network
    wanted = pools(settings, section)
    network: Object = {
        "bgp": "Enabled" if section.bgp else "Disabled",
        # always said: autodetection looks at names of interfaces and misses tunnels and bonds
        "mtu": plan.pod_mtu,
        "linuxDataplane": dataplane(settings, proxy_mode).capitalize(),
        "nodeAddressAutodetectionV4": autodetection(section),
        "ipPools": [_installation_pool(pool) for pool in wanted],
    }
    if any(pool.v6 for pool in wanted):
        network["nodeAddressAutodetectionV6"] = {"kubernetes": "NodeInternalIP"}
    spec: Object = {"variant": "Calico", "calicoNetwork": network}
    if settings.registry:
        spec["registry"] = f"{settings.registry.rstrip('/')}/"
    if settings.metrics:
        spec["typhaMetricsPort"] = TYPHA_METRICS
    return {
        "apiVersion": OPERATOR, "kind": "Installation", "metadata": {"name": "default"},
        "spec": spec,
    }  # fmt: skip


def _installation_pool(pool: WantedPool) -> Object:
    return {
        "name": pool.name,
        "cidr": pool.cidr,
        "blockSize": pool.block_size,
        "encapsulation": ENCAPSULATIONS[pool.encapsulation][0],
        "natOutgoing": "Enabled" if pool.nat_outgoing else "Disabled",
        "nodeSelector": pool.node_selector,
        "disableBGPExport": pool.disable_bgp_export,
    }


def api_server() -> Object:
    """What serves projectcalico.org/v3."""
    return {
        "apiVersion": OPERATOR, "kind": "APIServer", "metadata": {"name": "default"}, "spec": {},
    }  # fmt: skip


def ip_pool(pool: WantedPool, version: str) -> Object:
    """A pool as an object of its own; version: SERVED or STORED."""
    _, ipip, vxlan = ENCAPSULATIONS[pool.encapsulation]
    return {
        "apiVersion": version, "kind": "IPPool", "metadata": {"name": pool.name},
        "spec": {
            "cidr": pool.cidr, "blockSize": pool.block_size, "ipipMode": ipip, "vxlanMode": vxlan,
            "natOutgoing": pool.nat_outgoing, "nodeSelector": pool.node_selector,
            "disableBGPExport": pool.disable_bgp_export,
        },
    }  # fmt: skip


def felix(settings: Calico, section: Network, version: str) -> Object | None:
    """The FelixConfiguration, None when nothing of it is set here."""
    spec: Object = dict(settings.felix)
    if section.encapsulation == "wireguard":
        spec["wireguardEnabled"] = True
        if section.pod_cidr_v6:
            spec["wireguardEnabledV6"] = True
    if settings.metrics:
        spec |= {"prometheusMetricsEnabled": True}
        spec.setdefault("prometheusMetricsPort", FELIX_METRICS)
    if not spec:
        return None
    return {
        "apiVersion": version, "kind": "FelixConfiguration", "metadata": {"name": "default"},
        "spec": spec,
    }  # fmt: skip


def metrics(settings: Calico, namespace: str, app: str = "calico-node") -> Object | None:
    """The Service by which Prometheus finds Felix on every node; app: label of its pods."""
    if not settings.metrics:
        return None
    port = settings.felix.get("prometheusMetricsPort", FELIX_METRICS)
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "felix-metrics", "namespace": namespace, "labels": {"k8s-app": app},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)},
        },
        "spec": {
            "clusterIP": "None", "selector": {"k8s-app": app},
            "ports": [{"name": "http-metrics", "port": port, "targetPort": port,
                       "protocol": "TCP"}],
        },
    }  # fmt: skip


def typha_replicas(nodes: int) -> int:
    """Upstream's advice: one for 200 nodes, three for their own loss, twenty at most."""
    return max(1, min(20, nodes, max(3, math.ceil(nodes / 200))))
