"""Checks of the address plan: overlaps, capacity, what the nodes' routing tables already hold."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from underlay.addressing.capacity import V6, shortfalls
from underlay.addressing.overlap import (
    Named,
    blocks,
    clashes,
    clashes_with,
    network,
    overlap,
)
from underlay.checks.model import Check, Finding, Severity, Status
from underlay.facts.node import Node
from underlay.features.preflight.scene import Scene
from underlay.features.preflight.words import listed

#: Devices whose routes are the CNI's own.
CNI_DEVICES = (
    "cni", "flannel", "cali", "tunl0", "vxlan.calico", "vxlan-v6.calico", "wireguard.cali",
    "kube-ipvs0", "nodelocaldns", "veth", "lxc", "cilium",
)  # fmt: skip


def declared(scene: Scene) -> list[Named]:
    """The networks of the plan by name."""
    plan = scene.network
    fixed = {
        "pod CIDR": plan.pod_cidr, "Service CIDR": plan.service_cidr, "node CIDR": plan.node_cidr,
        "NodeLocal DNS": plan.node_local_dns, "IPv6 pod CIDR": plan.pod_cidr_v6,
        "IPv6 Service CIDR": plan.service_cidr_v6,
    }  # fmt: skip
    named = [Named(name, network(text)) for name, text in fixed.items() if text]
    return [*named, *(Named(name, network(text)) for name, text in plan.remote_cidrs.items())]


def _overlap(scene: Scene) -> Iterator[Finding]:
    for clash in clashes(declared(scene)):
        yield Finding(Status.FAIL, str(clash))


def _overlap_applies(scene: Scene) -> str:
    return "" if len(declared(scene)) > 1 else "fewer than two networks are declared"


def _routes(scene: Scene) -> Iterator[Finding]:
    ours = [named for named in declared(scene) if named.name != "node CIDR"]
    found: dict[str, list[str]] = {}
    for host, node in scene.read():
        theirs = [
            Named(f"the route via {route.device} to", network(route.destination))
            for route in node.routes
            if not _tunnel_or_cni(node, route.device, route.via)
        ]
        for clash in clashes_with(ours, theirs):
            found.setdefault(str(clash), []).append(host.name)
    for text, names in found.items():
        unique = tuple(dict.fromkeys(names))
        yield Finding(Status.FAIL, f"{text} on {listed(unique)}", unique)


def _tunnel_or_cni(node: Node, device: str, via: str) -> bool:
    """Routes of the CNI; host-gw and BGP put pod routes on the node's own interface, by bird."""
    if device.startswith(CNI_DEVICES):
        return True
    running = node.programs & {"bird", "bird6", "flanneld", "calico-node"}
    return bool(running and via)


def _routes_apply(scene: Scene) -> str:
    return "" if scene.network.pod_cidr or scene.network.service_cidr else "no pod or Service CIDR"


def _node(scene: Scene) -> Iterator[Finding]:
    owners: dict[str, list[str]] = {}
    for host in scene:
        if not host.address:
            continue
        owners.setdefault(host.address, []).append(host.name)
        cidr = host.network.node_cidr
        if cidr and not host.waits and ip_address(host.address) not in network(cidr):
            text = f"{host.name}: its address {host.address} is outside the node CIDR {cidr}"
            yield Finding(Status.FAIL, text, (host.name,))
    for address, names in owners.items():
        if len(names) > 1:
            yield Finding(Status.FAIL, f"{listed(names)} share the address {address}", tuple(names))


def _dual_stack(scene: Scene) -> Iterator[Finding]:
    plan = scene.network
    for first, second, name in (
        (plan.pod_cidr, plan.pod_cidr_v6, "pod"),
        (plan.service_cidr, plan.service_cidr_v6, "Service"),
    ):
        if second and network(second).version != 6:
            yield Finding(Status.FAIL, f"IPv6 {name} CIDR {second} is not IPv6")
        if not (first and second):
            text = f"only one family has a {name} CIDR ({first or second or 'none'})"
            yield Finding(Status.FAIL, text)
        elif network(first).version == 6:
            yield Finding(Status.FAIL, f"{name} CIDR {first} is IPv6, the IPv4 one belongs there")
    for host, node in scene.read():
        device = node.interface_of(host.address)
        if not host.second:
            text = f"{host.name}: no IPv6 address of its own on {device or 'its interface'}"
            yield Finding(Status.FAIL, text, (host.name,))
        elif not node.interface_of(host.second):
            text = f"{host.name}: no interface carries its IPv6 address {host.second}"
            yield Finding(Status.FAIL, text, (host.name,))


def _dual_stack_applies(scene: Scene) -> str:
    return "" if scene.network.dual_stack else "no IPv6 pod or Service CIDR is declared"


def _capacity(scene: Scene) -> Iterator[Finding]:
    plan = scene.network
    nodes, six = len(scene.hosts), plan.pod_cidr_v6
    bits = plan.node_prefix_v6 or V6
    if plan.cni != "calico" and six and blocks(network(six), bits) < nodes:
        text = f"IPv6 pod CIDR {six} holds {blocks(network(six), bits)} blocks of /{bits}"
        yield Finding(Status.FAIL, f"{text}, there are {nodes} nodes")
    for text in shortfalls(
        plan.pod_cidr or "0.0.0.0/0", nodes=nodes, max_pods=plan.max_pods,
        calico=plan.cni == "calico", prefix=plan.node_prefix,
    ):  # fmt: skip
        yield Finding(Status.FAIL, text)


def _capacity_applies(scene: Scene) -> str:
    return "" if scene.network.pod_cidr else "no pod CIDR is declared"


def _defaults(scene: Scene) -> Iterator[Finding]:
    """Address plans that collide where nobody looks: the defaults of docker and libvirt."""
    theirs = {"docker0": "172.17.0.0/16", "virbr0": "192.168.122.0/24"}
    ours = [named for named in declared(scene) if named.name in ("pod CIDR", "Service CIDR")]
    for host, node in scene.read():
        for program, device in (("dockerd", "docker0"), ("libvirtd", "virbr0")):
            if program not in node.programs or node.link(device) is not None:
                continue
            for named in ours:
                if overlap(named.network, network(theirs[device])):
                    text = (
                        f"{host.name}: {program} will give {device} {theirs[device]}, which"
                        f" overlaps {named.name} {named.network}"
                    )
                    yield Finding(Status.WARN, text, (host.name,))


CHECKS = (
    Check(
        "address/overlap", "Pod, Service, node and remote networks are disjoint", Severity.STRICT,
        "An address that means two things is unreachable as one of them.",
        "choose another range before the cluster exists; afterwards it means a new pod network",
        _overlap, _overlap_applies,
    ),
    Check(
        "address/routes", "No route of a node leads into the cluster's networks", Severity.STRICT,
        "The node would send pods' packets to its LAN, or the LAN would lose what is behind it.",
        "change pod_cidr or service_cidr, or remove the route", _routes, _routes_apply,
    ),
    Check(
        "address/node", "Node addresses are unique and inside the node CIDR", Severity.STRICT,
        "Firewalls, IPsec selectors and BGP peers are written for the node CIDR.",
        "correct network.address of the node, or network.node_cidr", _node,
    ),
    Check(
        "address/dual-stack", "Both families are complete on every node", Severity.STRICT,
        "A node without an IPv6 address gets no IPv6 pod block, and its Services answer in one"
        " family only.",
        "give the node's interface an IPv6 address, or set network.address_v6; declare pod and"
        " Service networks of both families", _dual_stack, _dual_stack_applies,
    ),
    Check(
        "address/capacity", "The pod CIDR holds all nodes and their pods", Severity.STRICT,
        "The node after the last block gets no pods, and its pods stay in ContainerCreating.",
        "widen pod_cidr, or change node_prefix or max_pods", _capacity, _capacity_applies,
    ),
    Check(
        "address/defaults", "Defaults of docker and libvirt do not collide", Severity.WARNING,
        "The bridge appears when the daemon starts, and takes the cluster's addresses then.",
        "set `bip` in /etc/docker/daemon.json, or change libvirt's default network", _defaults,
        _routes_apply,
    ),
)  # fmt: skip
