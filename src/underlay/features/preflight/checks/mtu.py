"""Checks of packet sizes: declared, on the interfaces, on the real path."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.checks.model import Check, Finding, Severity, Status
from underlay.features.preflight.blame import Item, causes
from underlay.features.preflight.checks.reach import dead_pairs
from underlay.features.preflight.scene import PathMtu, Scene
from underlay.features.preflight.words import counted, listed


def _path(scene: Scene) -> Iterator[Finding]:
    for family in (4, 6):
        yield from _of_family(scene, [m for m in scene.probes.mtus if m.family == family])


def _of_family(scene: Scene, mtus: list[PathMtu]) -> Iterator[Finding]:
    dead = dead_pairs(scene)
    dead |= {(target, source) for source, target in dead}
    tried = [m for m in mtus if (m.source, m.target) not in dead]
    known = [m for m in tried if m.size]
    for size in dict.fromkeys(m.size for m in known if m.size < m.expected):
        items = [
            Item(m.source, m.target, f"{m.label} {size}", "narrow" if m.size == size else "")
            for m in known
        ]
        expected = max(m.expected for m in known if m.size == size)
        packet = "ICMPv6 type 2" if known[0].family == 6 else "ICMP type 3 code 4"
        for cause in causes(items):
            text = f"{cause.where}, but {expected} is expected"
            yield Finding(
                Status.FAIL, text, cause.hosts,
                f"set network.mtu and the CNI's MTU for a path of {size}, or let the path carry"
                f" {expected}; let {packet} pass",
            )  # fmt: skip
    blocked = {
        pair
        for flow in scene.probes.flows
        if flow.verdict not in ("open", "unknown")
        for pair in ((flow.source, flow.target), (flow.target, flow.source))
    }
    dark = [m for m in tried if not m.size and (m.source, m.target) not in blocked]
    if dark:
        names = tuple(dict.fromkeys(m.source for m in dark))
        reason = next(
            (m.detail for m in dark if m.detail not in ("", "0")), "no answer of any size"
        )
        text = f"{dark[0].label} from {listed(names)}: {reason} ({counted(len(dark), 'pair')})"
        yield Finding(Status.UNKNOWN, text, names)
    if known and not dark and all(m.size >= m.expected for m in known):
        sizes = listed(map(str, sorted({m.size for m in known})))
        six = " of IPv6" if known[0].family == 6 else ""
        yield Finding(Status.PASS, f"{counted(len(known), 'direction')} carry {sizes}{six}")


def _path_applies(scene: Scene) -> str:
    return "" if scene.probes.mtus else "no pair of nodes was probed"


def _declared(scene: Scene) -> Iterator[Finding]:
    sizes: dict[int, list[str]] = {}
    for host, node in scene.read():
        address = host.beneath or host.address
        link = node.link(node.interface_of(address)) if address else None
        if link is None:
            continue
        sizes.setdefault(link.mtu, []).append(host.name)
        wanted = host.network.mtu
        if wanted is not None and link.mtu < wanted:
            text = f"{host.name}: {link.name} has MTU {link.mtu}, but network.mtu is {wanted}"
            yield Finding(Status.FAIL, text, (host.name,))
    if len(sizes) > 1 and scene.network.mtu is None:
        told = "; ".join(f"{size} on {listed(names)}" for size, names in sorted(sizes.items()))
        rare = min(sizes.values(), key=len)
        yield Finding(Status.WARN, f"node interfaces differ: {told}", tuple(rare))


def _overlay(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        wanted = node.flannel.get("FLANNEL_MTU", "")
        for device in node.links:
            ours = device.name.startswith(("flannel.", "flannel-"))
            if ours and wanted.isdigit() and device.mtu != int(wanted):
                text = f"{host.name}: {device.name} has MTU {device.mtu}, but pods get {wanted}"
                yield Finding(Status.FAIL, text, (host.name,))


def _overlay_applies(scene: Scene) -> str:
    return "" if any(n.flannel for _, n in scene.read()) else "flannel runs on no node"


CHECKS = (
    Check(
        "mtu/declared", "Interfaces carry the declared packet size", Severity.ERROR,
        "The sizes of tunnels and pods are derived from this number.",
        "set the interface's MTU, or network.mtu to what the network really carries", _declared,
    ),
    Check(
        "mtu/path", "The path between nodes carries what its ends promise", Severity.STRICT,
        "Packets above the path's size vanish: small requests work and large answers hang.",
        "lower the CNI's MTU to the path's, or let the path carry more", _path, _path_applies,
    ),
    Check(
        "mtu/overlay", "The overlay device and the pods agree on a size", Severity.ERROR,
        "flannel keeps an existing device when its MTU changes, so new pods send too much.",
        "ip link set that device's mtu to the value of FLANNEL_MTU, or delete it and restart"
        " flanneld",
        _overlay, _overlay_applies,
    ),
)  # fmt: skip
