"""flannel as objects of the API and as a device: what it should be. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from underlay.features import net_conf
from underlay.features.address_plan import Plan
from underlay.features.flannel.settings import VERSIONS, Flannel
from underlay.render import render
from underlay.settings.network import Network

Object = dict[str, Any]

NAMESPACE, CONFIG_MAP, DAEMON_SET = "kube-flannel", "kube-flannel-cfg", "kube-flannel-ds"
CONFLIST = "10-flannel.conflist"

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
    texts = [json.dumps(found, indent=2) for found in (_CNI_CONF, net_conf.wanted(settings, plan))]
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


def node_object(
    node: str, annotations: Mapping[str, str], gone: Iterable[str] = ()
) -> Object | None:
    """The annotations that one Node is to have and those that go, None when there are none."""
    found = {**annotations, **dict.fromkeys(gone)}
    if not found:
        return None
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node, "annotations": found},
    }  # fmt: skip


def _probed(version: str) -> bool:
    return tuple(map(int, version.removeprefix("v").split("."))) >= PROBES
