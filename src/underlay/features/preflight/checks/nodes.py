"""Checks of the nodes themselves: they answer, they are who they say, they can run pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from underlay.checks.model import Check, Finding, Severity, Status
from underlay.facts.node import Node
from underlay.features.preflight.scene import Host, Scene
from underlay.features.preflight.words import counted, listed


def _answers(scene: Scene) -> Iterator[Finding]:
    for host in scene:
        if host.lost:
            yield Finding(Status.FAIL, f"{host.name}: {host.lost}", (host.name,))


def _identity(scene: Scene) -> Iterator[Finding]:
    kinds: dict[str, Callable[[Node], list[str]]] = {
        "hostname": lambda node: [node.hostname],
        "machine-id": lambda node: [node.machine_id],
        "product uuid": lambda node: [node.product_uuid],
        "MAC address": lambda node: [
            link.mac for link in node.links if not link.kind and link.mac.strip("0:")
        ],
    }
    for kind, values in kinds.items():
        owners: dict[str, list[str]] = {}
        for host, node in scene.read():
            for value in dict.fromkeys(values(node)):
                owners.setdefault(value, []).append(host.name)
        for value, names in owners.items():
            if value and len(names) > 1:
                text = f"{listed(names)} have the same {kind} {value!r}"
                yield Finding(Status.FAIL, text, tuple(names))
    for host, node in scene.read():
        if not node.machine_id:
            text = f"{host.name}: /etc/machine-id is missing or empty"
            yield Finding(Status.FAIL, text, (host.name,))


def _link(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        if not node.links:
            text = (
                f"{host.name}: its interfaces cannot be read; `ip -j` needs iproute2 4.14 or newer"
            )
            yield Finding(Status.UNKNOWN, text, (host.name,))
            continue
        name = node.interface_of(host.address) if host.address else ""
        link = node.link(name)
        if link is None:
            address = host.network.address or host.address or "no address of its peers' network"
            text = f"{host.name}: no interface carries its node address ({address})"
            yield Finding(Status.FAIL, text, (host.name,), "set network.address of this host")
        elif not link.up:
            yield Finding(Status.FAIL, f"{host.name}: {name} has no carrier", (host.name,))


def _swap(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        allowed = node.kubelet_value("failSwapOn") == "false"
        if node.swaps and not allowed:
            text = f"{host.name}: swap is on ({listed(node.swaps)})"
            yield Finding(Status.WARN, text, (host.name,))


def _cgroups(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        kubelet = node.kubelet_value("cgroupDriver") or ("systemd" if node.kubelet else "")
        if not kubelet or node.containerd_systemd is None:
            continue
        runtime = "systemd" if node.containerd_systemd else "cgroupfs"
        if kubelet != runtime:
            text = f"{host.name}: the kubelet uses {kubelet} and containerd {runtime}"
            yield Finding(Status.FAIL, text, (host.name,))


def _cgroups_apply(scene: Scene) -> str:
    there = any(node.kubelet and node.containerd_systemd is not None for _, node in scene.read())
    return "" if there else "no node has both a kubelet's and containerd's configuration yet"


def _agent(scene: Scene) -> Iterator[Finding]:
    groups: dict[str, list[Host]] = {}
    for host in scene:
        if host.unprobed and not host.lost:
            groups.setdefault(host.unprobed, []).append(host)
    for reason, hosts in groups.items():
        names = tuple(host.name for host in hosts)
        yield Finding(Status.UNKNOWN, f"{listed(names)}: not probed: {reason}", names)
    yield from _waiting([host for host in scene if host.waits and host.facts and not host.lost])


def _waiting(hosts: list[Host]) -> Iterator[Finding]:
    """What Kubernetes and the CNI will use cannot be tried before the overlay is there."""
    if hosts:
        names = tuple(host.name for host in hosts)
        overlay, addresses = hosts[0].network.transport, listed(host.over for host in hosts)
        yield Finding(
            Status.UNKNOWN,
            f"{listed(names)}: only the ports beneath {overlay} were tried: no interface carries"
            f" {addresses} yet",
            names, "apply deploys/wireguard.py, then run the pre-flight again",
        )  # fmt: skip


def _agent_applies(scene: Scene) -> str:
    there = any(host.tool or host.unprobed or host.waits for host in scene)
    return "" if there else "no node was probed"


def _leftovers(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        if host.leftover:
            text = f"{host.name}: the agent of this run is still there"
            yield Finding(Status.FAIL, text, (host.name,))
        elif node.agents:
            text = f"{host.name}: {counted(len(node.agents), 'folder')} of an earlier pre-flight"
            yield Finding(Status.WARN, f"{text} ({listed(node.agents)})", (host.name,))


CHECKS = (
    Check(
        "node/answers", "Every node answers over SSH", Severity.STRICT,
        "A node that cannot be reached cannot be changed, and would be left behind half-way.",
        "check address, key, user and that the machine is on; then run again", _answers,
    ),
    Check(
        "node/identity", "Hostnames, machine-ids, product uuids and MACs are unique",
        Severity.STRICT,
        "Cloned machines share identities: Kubernetes, DHCP and flannel's and Calico's addresses"
        " are derived from them, and two nodes overwrite each other.",
        "give each machine its own: rm /etc/machine-id && systemd-machine-id-setup, hostnamectl"
        " set-hostname, a new MAC in the hypervisor; then reboot it", _identity,
    ),
    Check(
        "node/link", "The node address is on an interface that is up", Severity.STRICT,
        "Every tunnel and every peer uses this address.",
        "bring the interface up, or correct network.address", _link,
    ),
    Check(
        "node/swap", "Swap is off", Severity.WARNING,
        "The kubelet refuses to start with swap on unless failSwapOn is false.",
        "swapoff -a and take the line out of /etc/fstab", _swap,
    ),
    Check(
        "node/cgroup-driver", "Kubelet and container runtime use one cgroup driver",
        Severity.ERROR,
        "With two drivers the node becomes unstable under memory pressure and pods are killed.",
        "set SystemdCgroup = true in /etc/containerd/config.toml and cgroupDriver: systemd for the"
        " kubelet, then restart both", _cgroups, _cgroups_apply,
    ),
    Check(
        "probe/agent", "Every node could be probed", Severity.ERROR,
        "A port that nobody listened on, and that nobody tried, is not a port that works.",
        "install python3 on the node (python3-minimal is enough) or socat, and allow /run or /tmp"
        " to be written", _agent, _agent_applies,
    ),
    Check(
        "probe/leftovers", "Nothing of a pre-flight is left on a node", Severity.ERROR,
        "A listener that outlives its run keeps a port of the cluster busy.",
        "wait three minutes, in which every agent ends by itself; then remove the folder",
        _leftovers,
    ),
)  # fmt: skip
