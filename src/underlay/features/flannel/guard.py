"""What may be changed on a cluster that runs and what may not: live state against plan. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from underlay.addressing.overlap import network, overlap
from underlay.facts.cni import CniNode
from underlay.features import cni_guard
from underlay.features.flannel.plan import CONFIG_MAP, CONFLIST, DAEMON_SET, NAMESPACE, NET_CONF
from underlay.features.flannel.settings import Flannel
from underlay.settings.network import Network

Object = Mapping[str, Any]

#: Keys of net-conf.json that flannel reads at its start and that no running pod survives, with the
#: value it takes for an absent one.
_FIXED: dict[str, object] = {
    "Network": None, "IPv6Network": None, "SubnetLen": 24, "EnableIPv6": False,
}  # fmt: skip
_FIXED_BACKEND: dict[str, object] = {"Type": "udp", "VNI": 1, "Port": 8472}

SUPPORTED = (
    "supported way: new nodes, or each node drained, flannel's devices deleted and the node"
    " rebooted, in a maintenance window (docs/flannel.md)"
)


def cluster_refusals(
    wanted: Object, config_map: Object | None, workloads: Iterable[Object]
) -> Iterator[str]:
    """wanted: net-conf.json; config_map: the live one; workloads: DaemonSets and Deployments."""
    workloads = list(workloads)
    yield from cni_guard.workloads(workloads, "flannel")
    for found in workloads:
        name, place = found["metadata"]["name"], found["metadata"]["namespace"]
        if name in (DAEMON_SET, "kube-flannel") and place != NAMESPACE:
            yield (
                f"another flannel runs here ({place}/{name}); delete that DaemonSet first, its pods"
                " keep their network meanwhile"
            )
    if config_map is not None:
        yield from net_conf_refusals(wanted, str(config_map.get("data", {}).get(NET_CONF, "")))


def net_conf_refusals(wanted: Object, text: str) -> Iterator[str]:
    """What a running flannel cannot change; flannel compares keys without regard to case."""
    where = f"ConfigMap {NAMESPACE}/{CONFIG_MAP}"
    try:
        live = json.loads(text)
        backend = _value(live, "Backend") or {}
        pairs = [
            *((key, _value(live, key), wanted.get(key), usual) for key, usual in _FIXED.items()),
            *(
                (f"Backend.{key}", _value(backend, key), wanted["Backend"].get(key), usual)
                for key, usual in _FIXED_BACKEND.items()
            ),
        ]
    except (ValueError, AttributeError):
        yield f"{where}: {NET_CONF} is no JSON object; put it right, or delete the ConfigMap"
        return
    for key, now, then, usual in pairs:
        before, after = (usual if value is None else value for value in (now, then))
        if _plain(before) != _plain(after):
            yield (
                f"{where}: {key} is {before!r} and would become {after!r}, which flannel cannot do"
                f" while pods run; {SUPPORTED}"
            )


def node_object_refusals(nodes: Iterable[Object], section: Network) -> Iterator[str]:
    """Every Node needs a block of the plan's pod network from the controller-manager."""
    for node in nodes:
        name = node["metadata"]["name"]
        blocks = node["spec"].get("podCIDRs") or [node["spec"].get("podCIDR")]
        given = [str(block) for block in blocks if block]
        wanted = [cidr for cidr in (section.pod_cidr, section.pod_cidr_v6) if cidr]
        for cidr in wanted:
            family = [block for block in given if (":" in block) == (":" in cidr)]
            if not family:
                yield (
                    f"node {name} has no block of {cidr}; start kube-controller-manager with"
                    f" --allocate-node-cidrs and --cluster-cidr={','.join(wanted)}"
                )
            elif not overlap(network(family[0]), network(cidr)):
                yield (
                    f"node {name} has the block {family[0]}, which is not in {cidr}; set"
                    " network.pod_cidr to the --cluster-cidr of kube-controller-manager"
                )


def node_refusals(found: CniNode, settings: Flannel, section: Network) -> Iterator[str]:
    """What one node lacks, or still has of another CNI."""
    if "bridge" not in found.plugins:
        yield (
            f"no bridge plugin in {settings.cni_bin}, and flannel does not ship it; install the"
            " package containernetworking-plugins or the CNI plugins' release there"
        )
    if not settings.nftables:
        six = section.pod_cidr_v6 is not None
        if found.bridge_nf is None:
            yield (
                "br_netfilter is not loaded, and flanneld exits without it; run"
                " deploys/kernel_modules.py with the set kubernetes"
            )
        elif not found.bridge_nf[0] or (six and not found.bridge_nf[1]):
            yield (
                "net.bridge.bridge-nf-call-iptables is 0: bridged packets would pass Services by;"
                " run deploys/sysctl.py with the profile kubernetes-node"
            )
    yield from cni_guard.files(found.files, CONFLIST, settings.accept_cni_files, "flannel")
    yield from cni_guard.devices(found, "flannel")
    yield from _bridge(found, section)
    if section.encapsulation == "none":
        yield from not_on_link(found)


def not_on_link(found: CniNode) -> Iterator[str]:
    """host-gw writes each node as a gateway, which only a node on the same link can be."""
    for address, way in found.ways.items():
        if way.via:
            yield (
                f"host-gw needs one link for all nodes, but {address} is behind the router"
                f" {way.via}; use vxlan, or vxlan-cross-subnet"
            )
        elif not way.neighbour:
            yield (
                f"host-gw needs one link for all nodes, but {address} does not answer on"
                f" {way.device}; bring it up, correct its address, or use vxlan"
            )


def _bridge(found: CniNode, section: Network) -> Iterator[str]:
    device = found.devices.get("cni0")
    pods = [network(cidr) for cidr in (section.pod_cidr, section.pod_cidr_v6) if cidr]
    for text in device.addresses if device else ():
        address = ip_address(text)
        same = [cidr for cidr in pods if cidr.version == address.version]
        if not address.is_link_local and same and address not in same[0]:
            yield (
                f"cni0 has the address {text} of another pod network, and the bridge plugin would"
                " refuse to change it; drain the node and delete cni0"
            )


def _value(found: Object, key: str) -> Any:
    return next((value for name, value in found.items() if name.lower() == key.lower()), None)


def _plain(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
