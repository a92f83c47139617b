"""Checks of what the kernel does with neighbours and with IPv6: table sizes, forwarding."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.checks.model import Check, Finding, Severity, Status
from underlay.features.preflight.changes import CNI, KERNEL, KUBE_PROXY
from underlay.features.preflight.scene import Scene
from underlay.features.preflight.words import counted, listed

CONF = "net.ipv6.conf"
NEARLY_FULL = 90


def _neighbours(scene: Scene) -> Iterator[Finding]:
    wanted = (4, 6) if scene.network.dual_stack else (4,)
    for host, node in scene.read():
        # each other node, and each pod of its own, on whatever device it is
        need = len(scene.hosts) + host.network.max_pods
        for family in wanted:
            table = node.neighbours.get(family)
            key = f"net.ipv{family}.neigh.default.gc_thresh3"
            if table is None:
                text = f"{host.name}: {key} cannot be read"
                yield Finding(Status.UNKNOWN, text, (host.name,))
                continue
            if table.limit < need:
                text = f"{host.name}: {key} is {table.limit}, nodes and pods may need {need}"
                yield Finding(Status.FAIL, text, (host.name,))
            elif table.used * 100 >= table.limit * NEARLY_FULL:
                text = f"{host.name}: {table.used} of {table.limit} IPv{family} neighbours in use"
                yield Finding(Status.WARN, text, (host.name,))
            if table.overflows:
                times = counted(table.overflows, "time")
                text = f"{host.name}: the table of IPv{family} neighbours was full {times}"
                yield Finding(Status.WARN, text, (host.name,))


def _neighbours_apply(scene: Scene) -> str:
    there = any(node.neighbours for _, node in scene.read())
    return "" if there else "no node tells the size of its neighbour table"


def _ipv6(scene: Scene) -> Iterator[Finding]:
    groups: dict[str, list[str]] = {}
    for host, node in scene.read():
        disabled = node.ipv6.get(f"{CONF}.all.disable_ipv6")
        forwarding = node.ipv6.get(f"{CONF}.all.forwarding")
        if disabled is None:
            groups.setdefault("the kernel has no IPv6", []).append(host.name)
            continue
        if disabled != "0":
            groups.setdefault(f"{CONF}.all.disable_ipv6 is {disabled}", []).append(host.name)
        if forwarding != "1":
            groups.setdefault(f"{CONF}.all.forwarding is {forwarding}", []).append(host.name)
        for key, value in node.ipv6.items():
            if key.endswith(".accept_ra") and value == "1":
                device = key.removeprefix(f"{CONF}.").removesuffix(".accept_ra")
                text = (
                    f"{device} has its IPv6 default route from router advertisements, which a node"
                    " that forwards ignores: accept_ra is 1, not 2,"
                )
                groups.setdefault(text, []).append(host.name)
    for text, names in groups.items():
        yield Finding(Status.FAIL, f"{text} on {listed(names)}", tuple(names))


def _ipv6_applies(scene: Scene) -> str:
    return "" if scene.network.dual_stack else "no IPv6 pod or Service CIDR is declared"


CHECKS = (
    Check(
        "kernel/neighbours", "The neighbour table has room for all nodes and pods", Severity.ERROR,
        "A full table drops packets to hosts that are up, and the log only says `neighbour table"
        " overflow`.",
        "raise gc_thresh1, 2 and 3 together (profile large-cluster of deploys/sysctl.py)",
        _neighbours, _neighbours_apply, scopes=KERNEL | CNI | KUBE_PROXY,
    ),
    Check(
        "kernel/ipv6", "IPv6 is on and forwards where pods use it", Severity.STRICT,
        "IPv6 pods reach nobody outside their node, or the node loses its default route as soon as"
        " it forwards.",
        "set net.ipv6.conf.all.disable_ipv6 = 0, net.ipv6.conf.all.forwarding = 1 and accept_ra = 2"
        " on the interface with the default route, by sysctl.values", _ipv6, _ipv6_applies,
        scopes=KERNEL | CNI | KUBE_PROXY,
    ),
)  # fmt: skip
