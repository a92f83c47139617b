"""What advice needs to know of an inventory, and of its cluster where there is one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import yaml

from underlay.addressing.overlap import network
from underlay.advice.knowledge import NFTABLES_KERNEL
from underlay.advice.model import Need, Situation
from underlay.cluster import Api
from underlay.cluster.objects import CONFIG_MAP, DAEMON_SET, NODE, SERVICE
from underlay.errors import ClusterError
from underlay.features import advising_path
from underlay.features.calico.settings import Calico
from underlay.features.flannel.settings import Flannel
from underlay.features.kube_proxy import neighbours
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.sysctl.settings import Sysctl
from underlay.settings import Fleet
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network

MODES = ("iptables", "ipvs", "nftables")
TUNNELS = frozenset({"hubs", "spokes", "gateways"})


def situation(fleet: Fleet, needs: Iterable[Need]) -> Situation:
    """What the inventory alone says. The mode is the declared one, where it is declared."""
    hosts = list(fleet)
    first = hosts[0]
    plan, reflectors = first.section(Network), first.section(RouteReflectors)
    declared = first.section(KubeProxy).mode if first.names(KubeProxy) else None
    groups = {name for host in hosts for name in host.groups}
    members = {
        group: tuple(host.name for host in fleet.in_group(group))
        for group in ("route_reflectors", "control_plane", "workers")
    }
    named = {name for group in reflectors.groups.values() for name in group.reflectors}
    mtus = [host.section(Network).mtu for host in hosts]
    transport = advising_path.transport(fleet)
    return Situation(
        nodes=len(hosts), mode=declared, cni=plan.cni, encapsulation=plan.encapsulation,
        bgp=plan.bgp, mtu=min((size for size in mtus if size is not None), default=1500),
        tunnel=transport is not None or bool(groups & TUNNELS), dual_stack=plan.dual_stack,
        one_network=_one_network(fleet), max_pods=plan.max_pods,
        reflectors=tuple(h.name for h in hosts if h.name in named) or members["route_reflectors"],
        control_plane=members["control_plane"], workers=members["workers"], needs=frozenset(needs),
        reflector_groups={
            name: group.model_dump(mode="json", exclude_defaults=True)
            for name, group in reflectors.groups.items()
        },
        beneath=advising_path.beneath(fleet), transport=transport, esp=advising_path.esp(fleet),
        profiles=first.section(Sysctl).profiles if first.names(Sysctl) else (),
        aligned={mode: _aligned(first, mode) for mode in MODES},
    )  # fmt: skip


def _aligned(host: HostSettings, mode: str) -> dict[str, dict[str, Any]]:
    """Settings of CNIs that the inventory has and that would not go with a mode."""
    found: dict[str, dict[str, Any]] = {}
    nft = mode == "nftables"
    dataplane = host.section(Calico).dataplane
    if host.names(Calico) and dataplane is not None and (dataplane == "nftables") != nft:
        found["calico"] = {"dataplane": "nftables" if nft else "iptables"}
    if host.names(Flannel) and host.section(Flannel).nftables and not nft:
        found["flannel"] = {"nftables": False}
    return found


def _one_network(fleet: Fleet) -> bool | None:
    """Whether every node address is in the one node CIDR; None when that is not declared."""
    found = [host.section(Network) for host in fleet]
    cidrs = {each.node_cidr for each in found}
    if None in cidrs or any(each.address is None for each in found):
        return None
    inside = [
        ip_address(str(each.address)) in network(str(each.node_cidr)) for each in found
    ]  # fmt: skip
    return len(cidrs) == 1 and all(inside)


def with_cluster(found: Situation, api: Api) -> Situation:
    """What the running cluster says besides; a question that fails becomes a note."""
    notes = list(found.notes)
    answers: dict[str, Any] = {}
    for read in (_version, _nodes, _services, _mode, _cni, _dependent):
        try:
            answers.update(read(api))
        except ClusterError as error:
            notes.append(str(error).splitlines()[0])
    nodes = max(found.nodes, answers.pop("nodes", 0))
    return replace(found, **answers, nodes=nodes, notes=tuple(dict.fromkeys(notes)))


def _version(api: Api) -> Mapping[str, Any]:
    return {"kubernetes": dotted(api.version())}


def _nodes(api: Api) -> Mapping[str, Any]:
    nodes = api.list(NODE)
    kernels = [
        dotted(str(n.get("status", {}).get("nodeInfo", {}).get("kernelVersion"))) for n in nodes
    ]
    known = [kernel for kernel in kernels if kernel is not None]
    old = tuple(
        str(node.get("metadata", {}).get("name", ""))
        for node, kernel in zip(nodes, kernels, strict=True)
        if kernel is not None and kernel < NFTABLES_KERNEL
    )
    return {"nodes": len(nodes), "kernel": min(known) if known else None, "old_kernels": old}


def _dependent(api: Api) -> Mapping[str, Any]:
    """What runs in the cluster and would not go with a mode, as a migration finds it."""
    found = neighbours.read(api, neighbours.workloads(api))
    services = api.list(SERVICE)
    config = _config(api) or "{}"
    ips = [str(each.get("spec", {}).get("clusterIP", "")) for each in services]
    return {
        "dependent": {
            mode: tuple(
                finding.sentence
                for finding in neighbours.findings(found, mode=mode, config=config, cluster_ips=ips)
                if finding.refuses
            )
            for mode in MODES
        }
    }


def _services(api: Api) -> Mapping[str, Any]:
    return {"services": len(api.list(SERVICE))}


def _config(api: Api) -> str | None:
    """kube-proxy's config.conf, None without its ConfigMap."""
    found = api.find(CONFIG_MAP, "kube-proxy", "kube-system")
    return None if found is None else str((found.get("data") or {}).get("config.conf", ""))


def _mode(api: Api) -> Mapping[str, Any]:
    config = _config(api)
    if config is None:
        return {}
    try:
        said = yaml.safe_load(config) or {}
    except yaml.YAMLError as error:
        raise ClusterError("ConfigMap kube-proxy: its config.conf is not YAML") from error
    # an empty mode is iptables on every Linux node up to now
    return {"mode": str(said.get("mode") or "iptables")}


def _cni(api: Api) -> Mapping[str, Any]:
    names = {str(each["metadata"]["name"]) for each in api.list(DAEMON_SET)}
    for name, cni in (("calico-node", "calico"), ("kube-flannel-ds", "flannel")):
        if name in names:
            return {"cni": cni}
    return {}


def dotted(text: str) -> tuple[int, int] | None:
    """`v1.33.2` or `6.1.0-40-amd64` to its first two numbers; None for what has none."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found.group(1)), int(found.group(2))) if found else None
