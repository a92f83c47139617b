"""Upstream's plain manifest with the plan's values in it. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from underlay.cluster.objects import DEPLOYMENT, DISRUPTION_BUDGET, SERVICE
from underlay.features.address_plan import Plan
from underlay.features.calico import plan
from underlay.features.calico.settings import Calico

Object = dict[str, Any]

NAMESPACE, DAEMON_SET, CONFIG_MAP = "kube-system", "calico-node", "calico-config"
#: What is there only with Typha, in the order in which it goes. calico-node must be without it
#: before: one that does not find Typha programs nothing.
TYPHA = (
    (DISRUPTION_BUDGET, "calico-typha", NAMESPACE),
    (DEPLOYMENT, "calico-typha", NAMESPACE),
    (SERVICE, "calico-typha", NAMESPACE),
)
_IPAM, _BOTH = '"type": "calico-ipam"', '"assign_ipv4": "true", "assign_ipv6": "true"'


def objects(
    found: Iterable[Object], settings: Calico, planned: Plan, *, proxy_mode: str, nodes: int
) -> list[Object]:
    """The manifest's objects, those that carry values changed."""
    return [_one(copy.deepcopy(one), settings, planned, proxy_mode, nodes) for one in found]


def environment(settings: Calico, planned: Plan, proxy_mode: str) -> dict[str, str]:
    """Variables of calico-node; the first pool of each family is made from them."""
    section = planned.network
    method = plan.autodetection(section)
    found = {
        "CLUSTER_TYPE": "k8s,bgp" if section.bgp else "k8s",
        "IP_AUTODETECTION_METHOD": _method(method),
        "FELIX_NFTABLESMODE": plan.felix_nftables(settings, proxy_mode),
    }
    seen: set[bool] = set()
    for pool in plan.pools(settings, section):
        if pool.v6 in seen:
            continue
        seen.add(pool.v6)
        family = 6 if pool.v6 else 4
        _, ipip, vxlan = plan.ENCAPSULATIONS[pool.encapsulation]
        found |= {
            f"CALICO_IPV{family}POOL_CIDR": pool.cidr,
            f"CALICO_IPV{family}POOL_BLOCK_SIZE": str(pool.block_size),
            f"CALICO_IPV{family}POOL_VXLAN": vxlan,
            f"CALICO_IPV{family}POOL_NAT_OUTGOING": str(pool.nat_outgoing).lower(),
            f"CALICO_IPV{family}POOL_NODE_SELECTOR": pool.node_selector,
        }
        if family == 4:
            found["CALICO_IPV4POOL_IPIP"] = ipip
        else:
            mtu = str(planned.pod_mtu)
            found |= {
                "IP6": "autodetect", "IP6_AUTODETECTION_METHOD": "kubernetes-internal-ip",
                "FELIX_IPV6SUPPORT": "true", "FELIX_VXLANMTUV6": mtu, "FELIX_WIREGUARDMTUV6": mtu,
            }  # fmt: skip
    return found


def _method(found: Mapping[str, Any]) -> str:
    if "cidrs" in found:
        return f"cidr={','.join(found['cidrs'])}"
    if "interface" in found:
        return f"interface={found['interface']}"
    return "kubernetes-internal-ip"


def _one(found: Object, settings: Calico, planned: Plan, proxy_mode: str, nodes: int) -> Object:
    kind, name = found["kind"], found["metadata"]["name"]
    bgp = planned.network.bgp
    if (kind, name) == ("ConfigMap", CONFIG_MAP):
        found["data"]["veth_mtu"] = str(planned.pod_mtu)
        found["data"]["calico_backend"] = "bird" if bgp else "vxlan"
        if planned.network.pod_cidr_v6:
            # no JSON before calico-node has put values into it; without this, pods get IPv4 only
            conf = found["data"]["cni_network_config"]
            found["data"]["cni_network_config"] = conf.replace(_IPAM, f"{_IPAM}, {_BOTH}")
    elif (kind, name) == ("DaemonSet", DAEMON_SET):
        pod = found["spec"]["template"]
        container = pod["spec"]["containers"][0]
        values = environment(settings, planned, proxy_mode)
        kept = [entry for entry in container["env"] if entry["name"] not in values]
        container["env"] = [*kept, *({"name": k, "value": v} for k, v in values.items())]
        # a new MTU is read at the start of a pod
        pod["metadata"].setdefault("annotations", {})["underlay.dev/configuration"] = str(
            planned.pod_mtu
        )
        if not bgp:
            for probe, check in (
                ("livenessProbe", "-bird-live"),
                ("readinessProbe", "-bird-ready"),
            ):
                command = container[probe]["exec"]["command"]
                container[probe]["exec"]["command"] = [w for w in command if w != check]
    elif (kind, name) == ("Deployment", "calico-typha"):
        found["spec"]["replicas"] = plan.typha_replicas(nodes)
    return found
