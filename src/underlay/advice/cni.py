"""Which CNI, and how it carries packets between nodes. Pure."""

from __future__ import annotations

from typing import Any

from underlay.addressing.chain import layer
from underlay.addressing.mtu import Layer, chain
from underlay.advice import knowledge as k
from underlay.advice.model import Advice, Need, Situation, Source, Verdict, verdict

POLICIES = "NetworkPolicy is enforced by Calico; flannel ignores it without a word."


def advise(found: Situation) -> Advice:
    """flannel where it is enough, Calico where policies or size ask for more."""
    running = "" if found.cni == "none" else found.cni
    choose, why, sources = _choice(found)
    against = []
    if running and running != choose:
        sources = [*sources, k.FLANNEL_TO_CALICO]
        if choose == "calico":
            against.append(
                "a live migration: flannel by VXLAN, DirectRouting off, two nodes or more"
            )
        else:
            # what works and does more than is needed is no reason to rebuild a pod network
            choose, why = (
                running,
                ["It runs and does what is needed; changing a CNI is a migration."],
            )
    kind, more = encapsulation(found, choose)
    settings: dict[str, Any] = {"cni": choose, "encapsulation": kind}
    if choose == "calico":
        by_bgp = kind in ("none", "ipip", "ipip-cross-subnet")
        settings["bgp"] = found.bgp if running == "calico" else by_bgp
    if found.transport is not None:
        settings["transport"] = found.transport
    against += _floors(found, choose, kind)
    return Advice(
        "cni", "CNI", verdict(running, choose), running, choose, tuple([*why, *more]),
        tuple(sources), tuple(against), {"network": settings},
    )  # fmt: skip


def _choice(found: Situation) -> tuple[str, list[str], list[Source]]:
    if Need.NETWORK_POLICY in found.needs:
        return "calico", [POLICIES], [k.CALICO_OVERLAY, k.OURS]
    if Need.SIMPLE in found.needs or found.nodes <= k.SMALL:
        why = [f"{found.nodes} nodes without NetworkPolicy: the smallest that works."]
        return "flannel", why, [k.FLANNEL_BACKENDS, k.OURS]
    why = [f"{found.nodes} nodes: policies, IPAM by blocks and BGP are there when they are needed."]
    return "calico", why, [k.CALICO_OVERLAY, k.OURS]


def _floors(found: Situation, choose: str, kind: str) -> list[str]:
    """Kernels that are too old for what is chosen."""
    floors = {"calico": ("Calico", k.CALICO_KERNEL), "wireguard": ("WireGuard", k.WIREGUARD_KERNEL)}
    return [
        f"{name} needs kernel {need[0]}.{need[1]}, the oldest node has"
        f" {found.kernel[0]}.{found.kernel[1]}: upgrade it first"
        for name, need in (floors[key] for key in (choose, kind) if key in floors)
        if found.kernel is not None and found.kernel < need
    ]


def encapsulation(found: Situation, cni: str) -> tuple[str, list[str]]:
    """How packets cross, and why; what runs is kept, because it is not changed in place."""
    if found.cni == cni:
        return found.encapsulation, [f"{found.encapsulation} stays: it is not changed in place."]
    if found.transport is not None:
        more = " It encrypts already." if Need.ENCRYPTION in found.needs else ""
        return "vxlan", [f"The overlay {found.transport} carries only node addresses.{more}"]
    if Need.ENCRYPTION in found.needs:
        return "wireguard", ["WireGuard encrypts what crosses between nodes."]
    if found.tunnel:
        return "vxlan", ["Nodes are behind tunnels, which carry only node addresses."]
    if Need.THROUGHPUT in found.needs and found.one_network:
        return "none", ["All nodes are in one subnet: routes alone, without overhead."]
    if cni == "calico" and found.one_network is False:
        return "vxlan-cross-subnet", ["Only what leaves a subnet is encapsulated."]
    if Need.THROUGHPUT in found.needs and found.one_network is None:
        return "vxlan", ["Whether all nodes share a subnet is not known; VXLAN works in any case."]
    return "vxlan", ["VXLAN asks nothing of the network but 1 open UDP port."]


def mtu(found: Situation, cni: str, kind: str) -> Advice:
    """What is left for pods of the path between the nodes."""
    below = found.beneath or chain(found.mtu, [Layer.WIREGUARD] if found.tunnel else [])
    hops = [*below, *chain(below[-1].mtu, [layer(cni, kind, v6=False)])[1:]]
    size = hops[-1].mtu
    settings: dict[str, Any] = {"mtu": below[0].mtu}
    if found.esp is not None:
        settings["esp"] = dict(found.esp)
    why = f"{' -> '.join(str(hop) for hop in hops)}, as all nodes must have the smallest."
    return Advice(
        "mtu", "Packet size of pods", Verdict.CHOOSE if found.cni == "none" else Verdict.CONSIDER,
        "", f"{size} bytes", (why,), (k.OVERHEADS,),
        ("mtu/path of `underlay preflight` measures whether the path carries it",),
        {"network": settings},
    )  # fmt: skip
