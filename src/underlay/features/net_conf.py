"""net-conf.json: flannel's network, by itself or beneath canal's policy. Pure.

What it should be, what of it a running flannel cannot change, and the device and ports it means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from underlay.addressing.overlap import network, overlap
from underlay.features.address_plan import Plan
from underlay.features.flannel.settings import Flannel
from underlay.features.wireguard.settings import WireGuard
from underlay.operations.flannel_device import RULE, RULE_V6, Device
from underlay.settings import Problem, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network

Object = Mapping[str, Any]

KEY = "net-conf.json"

#: network.encapsulation -> flannel's backend, and whether it routes directly within a subnet
BACKENDS = {
    "none": ("host-gw", False),
    "vxlan": ("vxlan", False),
    "vxlan-cross-subnet": ("vxlan", True),
    "ipip": ("ipip", False),
    "ipip-cross-subnet": ("ipip", True),
    "wireguard": ("wireguard", False),
}

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


def backend(settings: Flannel, plan: Plan) -> dict[str, Any]:
    """The `Backend` of net-conf.json; always with its Type, because flannel's default is udp."""
    kind, direct = BACKENDS[plan.network.encapsulation]
    found: dict[str, Any] = {"Type": kind}
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


def wanted(settings: Flannel, plan: Plan) -> dict[str, Any]:
    """net-conf.json."""
    section = plan.network
    found: dict[str, Any] = {"Network": section.pod_cidr}
    if section.pod_cidr_v6:
        found |= {"EnableIPv6": True, "IPv6Network": section.pod_cidr_v6}
    return {**found, "EnableNFTables": settings.nftables, "Backend": backend(settings, plan)}


def devices(settings: Flannel, plan: Plan) -> tuple[Device, ...]:
    """The devices of the backend on every node: none, one, or one of each family."""
    kind, six = BACKENDS[plan.network.encapsulation][0], bool(plan.network.pod_cidr_v6)
    names = {
        "vxlan": (f"flannel.{settings.vni}", f"flannel-v6.{settings.vni}"),
        "wireguard": ("flannel-wg", "flannel-wg-v6"),
        "ipip": ("flannel.ipip",),
    }.get(kind, ())
    if not six or (kind == "wireguard" and settings.wireguard_mode != "separate"):
        names = names[:1]
    return tuple(
        Device(
            name=name,
            mtu=plan.pod_mtu,
            tx_queue_length=settings.tx_queue_length,
            offload=settings.offload,
            rule=rule,
        )
        for name, rule in zip(names, (RULE, RULE_V6), strict=False)
    )


def refusals(wanted: Object, config_map: Object) -> Iterator[str]:
    """What a running flannel cannot change; flannel compares keys without regard to case."""
    meta = config_map["metadata"]
    where = f"ConfigMap {meta['namespace']}/{meta['name']}"
    text = str(config_map.get("data", {}).get(KEY, ""))
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
        yield f"{where}: {KEY} is no JSON object; put it right, or delete the ConfigMap"
        return
    for key, now, then, usual in pairs:
        before, after = (usual if value is None else value for value in (now, then))
        if _plain(before) != _plain(after):
            yield (
                f"{where}: {key} is {before!r} and would become {after!r}, which flannel cannot do"
                f" while pods run; {SUPPORTED}"
            )


def node_refusals(nodes: Iterable[Object], section: Network) -> Iterator[str]:
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


def ports(hosts: list[HostSettings]) -> Iterator[Problem]:
    """UDP 51820 is the default of flannel, Calico, Kilo and our overlays alike."""
    for host in hosts:
        flannel, section = host.section(Flannel), host.section(Network)
        if section.encapsulation == "wireguard":
            ours = {"wireguard_port": flannel.wireguard_port}
            if section.pod_cidr_v6:
                ours["wireguard_port_v6"] = flannel.wireguard_port_v6
        elif section.encapsulation.startswith("vxlan"):
            ours = {"port": flannel.port}
        else:
            continue
        for name, overlay in host.section(WireGuard).of(host.name).items():
            for key, port in ours.items():
                if port == overlay.port:
                    yield Problem(
                        host.name, f"flannel.{key}", f"the overlay {name} listens there",
                        shown(port), "give flannel another port",
                    )  # fmt: skip


def _value(found: Object, key: str) -> Any:
    return next((value for name, value in found.items() if name.lower() == key.lower()), None)


def _plain(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
