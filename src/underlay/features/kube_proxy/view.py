"""What the Kubernetes API says about kube-proxy, read once per run before anything changes."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from underlay.cluster import Api
from underlay.cluster.objects import CONFIG_MAP, ENDPOINTS, NODE, POD, SERVICE
from underlay.cluster.rights import denied
from underlay.errors import ClusterError
from underlay.features.kube_proxy import neighbours, rights, units
from underlay.features.kube_proxy.neighbours import Neighbours
from underlay.features.kube_proxy.probes import name_of
from underlay.features.kube_proxy.units import NAMESPACE, Unit


@dataclass(frozen=True)
class ClusterView:
    """The cluster as far as kube-proxy is concerned.

    minor: of the server, 20 for v1.20.2; units: every DaemonSet that runs kube-proxy; addresses:
    node to its internal address; services: API objects; ready: `namespace/name` of Services with
    endpoints; single: `namespace/name` of a Service with one endpoint only, to node and address of
    that pod; denied: what the user of this run may not do.
    """

    minor: int
    units: tuple[Unit, ...]
    addresses: Mapping[str, str]
    services: tuple[Mapping[str, Any], ...]
    ready: frozenset[str]
    single: Mapping[str, tuple[str, str]]
    neighbours: Neighbours
    denied: tuple[str, ...]

    def unit_of(self, node: str) -> Unit | None:
        """The unit whose kube-proxy runs on this node."""
        return next((unit for unit in self.units if node in unit.pods), None)

    def node_ports(self) -> frozenset[int]:
        """Every NodePort and health check port of the cluster."""
        ports = [port for found in self.services for port in found["spec"].get("ports", [])]
        health = [found["spec"].get("healthCheckNodePort") for found in self.services]
        numbers = [*(port.get("nodePort") for port in ports), *health]
        return frozenset(int(number) for number in numbers if number)

    def cluster_ips(self) -> list[str]:
        """The ClusterIP of every Service that has one, all families."""
        found: list[object] = []
        for service in self.services:
            spec = service["spec"]
            found += spec.get("clusterIPs") or [spec.get("clusterIP")]
        return [str(address) for address in found if address not in (None, "", "None")]

    def udp_services(self) -> list[str]:
        """ClusterIPs of Services with a UDP port."""
        return [
            str(found["spec"]["clusterIP"])
            for found in self.services
            if found["spec"].get("clusterIP") not in (None, "", "None")
            and any(port.get("protocol") == "UDP" for port in found["spec"].get("ports", []))
        ]


_lock = threading.Lock()
_views: WeakKeyDictionary[Inventory, ClusterView] = WeakKeyDictionary()


def view_of(state: State, api: Api, take_out: str) -> ClusterView:
    """The view of this run; the first host that asks reads it for all."""
    with _lock:
        found = _views.get(state.inventory)
        if found is None:
            found = read(api, take_out)
            _views[state.inventory] = found
    return found


def read(api: Api, take_out: str = "no") -> ClusterView:
    """Ask the API server; ClusterError when no DaemonSet runs kube-proxy as kubeadm's does.

    take_out: as in the settings, for the rights that it needs.
    """
    minor = _minor(api.version())
    nodes = api.list(NODE)
    pods = api.list(POD, NAMESPACE)
    workloads = neighbours.workloads(api)
    found = units.find(
        [w for w in workloads if w["metadata"]["namespace"] == NAMESPACE],
        pods,
        lambda name: api.get(CONFIG_MAP, name, NAMESPACE),
    )
    if not found:
        versions = [str(node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", ""))
                    for node in nodes]  # fmt: skip
        raise ClusterError(units.instead(workloads, pods, versions))
    endpoints = api.list(ENDPOINTS)
    return ClusterView(
        minor=minor,
        units=found,
        addresses={node["metadata"]["name"]: _internal(node) for node in nodes},
        services=tuple(api.list(SERVICE)),
        ready=frozenset(name_of(entry) for entry in endpoints if _addresses(entry)),
        single=dict(_single(endpoints)),
        neighbours=neighbours.read(api, workloads),
        denied=denied(api, rights.needed([unit.config_map for unit in found], take_out)),
    )


def _minor(version: str) -> int:
    found = re.match(r"v?1\.(\d+)", version)
    if found is None:
        raise ClusterError(f"Kubernetes API: not a version (got {version!r}); is it Kubernetes?")
    return int(found.group(1))


def _internal(node: Mapping[str, Any]) -> str:
    addresses = node.get("status", {}).get("addresses", [])
    return next((str(a["address"]) for a in addresses if a["type"] == "InternalIP"), "")


def _addresses(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [entry for part in found.get("subsets") or [] for entry in part.get("addresses") or []]


def _single(endpoints: list[dict[str, Any]]) -> list[tuple[str, tuple[str, str]]]:
    found = []
    for entry in endpoints:
        addresses = _addresses(entry)
        if len(addresses) == 1 and addresses[0].get("nodeName"):
            found.append((name_of(entry), (addresses[0]["nodeName"], addresses[0]["ip"])))
    return found
