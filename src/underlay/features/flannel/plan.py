"""flannel as objects of the API and as a device: what it should be. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import yaml

from underlay.features.address_plan import Plan
from underlay.features.flannel.settings import VERSIONS, Flannel
from underlay.operations.flannel_device import Device
from underlay.render import render
from underlay.settings.network import Network

Object = dict[str, Any]

NAMESPACE, CONFIG_MAP, DAEMON_SET = "kube-flannel", "kube-flannel-cfg", "kube-flannel-ds"
NET_CONF = "net-conf.json"
CONFLIST = "10-flannel.conflist"
ANNOTATION = "flannel.alpha.coreos.com/"

#: network.encapsulation -> flannel's backend, and whether it routes directly within a subnet
BACKENDS = {
    "none": ("host-gw", False),
    "vxlan": ("vxlan", False),
    "vxlan-cross-subnet": ("vxlan", True),
    "ipip": ("ipip", False),
    "ipip-cross-subnet": ("ipip", True),
    "wireguard": ("wireguard", False),
}

#: The first version that answers on /readyz.
PROBES = (0, 28, 9)

_CNI_CONF: Object = {
    "name": "cbr0",
    "cniVersion": "0.3.1",
    "plugins": [
        {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


def backend(settings: Flannel, plan: Plan) -> Object:
    """The `Backend` of net-conf.json; always with its Type, because flannel's default is udp."""
    kind, direct = BACKENDS[plan.network.encapsulation]
    found: Object = {"Type": kind}
    if kind == "vxlan":
        found |= {"VNI": settings.vni, "Port": settings.port}
    if kind == "wireguard":
        found |= {
            "ListenPort": settings.wireguard_port,
            "ListenPortV6": settings.wireguard_port_v6,
            "Mode": settings.wireguard_mode,
            "PersistentKeepaliveInterval": settings.keepalive_s,
        }
    if direct:
        found["DirectRouting"] = True
    if plan.value is not None:
        # what lies beneath the encapsulation: flannel takes its own overhead off
        found["MTU"] = plan.value[1]
    return found


def net_conf(settings: Flannel, plan: Plan) -> Object:
    """net-conf.json."""
    section = plan.network
    found: Object = {"Network": section.pod_cidr}
    if section.pod_cidr_v6:
        found |= {"EnableIPv6": True, "IPv6Network": section.pod_cidr_v6}
    return {**found, "EnableNFTables": settings.nftables, "Backend": backend(settings, plan)}


def arguments(settings: Flannel, section: Network) -> list[str]:
    """The arguments of flanneld."""
    found = ["--ip-masq"] if settings.ip_masq else []
    found.append("--kube-subnet-mgr")
    if _probed(settings.version):
        found.append("--healthz-port=8081")
    interface = settings.interface or section.transport
    if interface:
        found.append(f"--iface={interface}")
    if settings.interface_regex:
        found.append(f"--iface-regex={settings.interface_regex}")
    if settings.can_reach:
        found.append(f"--iface-can-reach={settings.can_reach}")
    return found


def objects(settings: Flannel, plan: Plan) -> list[Object]:
    """Every object of flannel, in the order in which they can be made."""
    texts = [json.dumps(found, indent=2) for found in (_CNI_CONF, net_conf(settings, plan))]
    registry = settings.registry.rstrip("/")
    text = render(
        "flannel/kube-flannel.yml.j2",
        cni_conf=texts[0],
        net_conf=texts[1],
        digest=hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16],
        image=f"{registry}/flannel:{settings.version}",
        plugin_image=f"{registry}/flannel-cni-plugin:{VERSIONS[settings.version]}",
        arguments=arguments(settings, plan.network),
        probes=_probed(settings.version),
        cni_bin=settings.cni_bin,
    )
    return list(yaml.safe_load_all(text))


def node_object(node: str, address: str, settings: Flannel, public: str | None) -> Object | None:
    """The annotations that one Node is to have, None when there are none."""
    found = {}
    if settings.by_node_address and address:
        found[f"{ANNOTATION}node-public-ip{'v6' if ':' in address else ''}"] = address
    if public:
        found[f"{ANNOTATION}public-ip{'v6' if ':' in public else ''}-overwrite"] = public
    if not found:
        return None
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "annotations": found}}


def device(settings: Flannel, plan: Plan) -> Device | None:
    """The device of the backend on every node, None when it has none."""
    kind = BACKENDS[plan.network.encapsulation][0]
    names = {"vxlan": f"flannel.{settings.vni}", "wireguard": "flannel-wg", "ipip": "flannel.ipip"}
    if kind not in names:
        return None
    return Device(
        name=names[kind],
        mtu=plan.pod_mtu,
        tx_queue_length=settings.tx_queue_length,
        offload=settings.offload,
    )


def _probed(version: str) -> bool:
    return tuple(map(int, version.removeprefix("v").split("."))) >= PROBES
