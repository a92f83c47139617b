"""canal, upstream's file with the plan in it: flannel carries packets, Calico does policy.

The rule: what canal cannot do is refused here, and nothing is added to what upstream's file brings.
Pure.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from underlay.features import net_conf as of_flannel
from underlay.features.address_plan import Plan
from underlay.features.calico.settings import Calico
from underlay.features.flannel.settings import Flannel
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.settings import Problem, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network

Object = dict[str, Any]

FILE, CONFLIST = "canal.yaml", "10-canal.conflist"
NAMESPACE, DAEMON_SET, CONFIG_MAP = "kube-system", "canal", "canal-config"
#: What upstream's file pins, in v3.31 and v3.32 alike.
FLANNEL = "v0.24.4"
ENCAPSULATIONS = ("vxlan", "vxlan-cross-subnet")
#: Settings of flannel that have a place in canal's ConfigMap.
_TAKEN = {"vni", "port", "interface", "ip_masq"}


def net_conf(settings: Flannel, planned: Plan) -> Object:
    """net-conf.json; without EnableNFTables, which canal's flannel is too old for."""
    found = of_flannel.wanted(settings, planned)
    return {key: value for key, value in found.items() if key != "EnableNFTables"}


def objects(found: Iterable[Object], settings: Flannel, planned: Plan) -> list[Object]:
    """The manifest's objects, those that carry values changed."""
    data = {
        "canal_iface": settings.interface or planned.network.transport or "",
        "masquerade": str(settings.ip_masq).lower(),
        "veth_mtu": str(planned.pod_mtu),
        "net-conf.json": json.dumps(net_conf(settings, planned), indent=2),
    }
    return [_one(copy.deepcopy(one), data) for one in found]


def _one(found: Object, data: dict[str, str]) -> Object:
    kind, name = found["kind"], found["metadata"]["name"]
    if (kind, name) == ("ConfigMap", CONFIG_MAP):
        found["data"] |= data
    elif (kind, name) == ("DaemonSet", DAEMON_SET):
        pod = found["spec"]["template"]
        digest = hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]
        # both agents read their configuration at the start of a pod
        pod["metadata"].setdefault("annotations", {})["underlay.dev/configuration"] = digest
        felix = pod["spec"]["containers"][0]
        # Felix would follow kube-proxy to nft, and flannel of that age writes iptables rules
        felix["env"].append({"name": "FELIX_NFTABLESMODE", "value": "Disabled"})
        # the flag in upstream's arguments wins over the ConfigMap
        if data["masquerade"] == "false":
            agent = pod["spec"]["containers"][1]
            agent["command"] = [word for word in agent["command"] if word != "--ip-masq"]
    return found


def problems(host: HostSettings) -> Iterator[Problem]:
    """What the inventory asks of canal and canal does not have."""
    section, settings = host.section(Network), host.section(Calico)
    if section.encapsulation not in ENCAPSULATIONS:
        yield Problem(
            host.name, "network.encapsulation", "canal is flannel's VXLAN",
            shown(section.encapsulation), f"use one of {', '.join(ENCAPSULATIONS)}",
        )  # fmt: skip
    absent = (
        ("network.pod_cidr_v6", section.pod_cidr_v6, "canal has IPv4 only"),
        ("network.bgp", section.bgp, "canal runs no BGP"),
        ("network.typha", section.typha, "canal's manifest has no Typha"),
        ("calico.pools", settings.pools, "canal's addresses are the blocks of the Nodes"),
    )
    for path, value, what in absent:
        if value:
            yield Problem(
                host.name, path, what, shown(value), "take it out, or install Calico itself"
            )
    mode = host.section(KubeProxy).mode if host.names(KubeProxy) else None
    if "nftables" in (settings.dataplane, mode):
        yield Problem(
            host.name, "calico.dataplane", f"canal's flannel {FLANNEL} writes iptables rules",
            shown("nftables"), "use iptables for Calico and kube-proxy, or install Calico itself",
        )  # fmt: skip
    own = host.section(Flannel)
    for key, field in Flannel.model_fields.items():
        value = getattr(own, key)
        if key not in _TAKEN and value != field.get_default(call_default_factory=True):
            yield Problem(
                host.name, f"flannel.{key}", "canal's manifest has no place for it", shown(value),
                f"take it out; canal takes {', '.join(sorted(_TAKEN))}",
            )  # fmt: skip
