"""What may be changed on a cluster that runs and what may not: live state against plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from underlay.addressing.overlap import network
from underlay.facts.cni import CniNode
from underlay.features import cni_guard, net_conf
from underlay.features.flannel.plan import CONFLIST, DAEMON_SET, NAMESPACE
from underlay.features.flannel.settings import Flannel
from underlay.settings.network import Network

Object = Mapping[str, Any]


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
        yield from net_conf.refusals(wanted, config_map)


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
