"""A stand-in for the agents of flannel and Calico: what they program on a node, as a shell text.

Their images cannot be pulled where the lab runs. The rule: it reads what underlay renders for them
(net-conf.json; Installation, IPPool) and nothing of underlay's plan, so that the two can disagree.
Names and numbers: flannel v0.28 pkg/backend and pkg/trafficmngr, Calico v3.32 felix and confd.
It gives every node what it needs to know of the others, which the agents get from the API server,
and programs once: no watch, no IPAM, no BGP, no policy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from typing import Any

#: What is left from one run to the next; tunl0 belongs to its module and stays.
CLEAN = """
for name in pod-a pod-b; do ip netns del $name 2>/dev/null; done
for name in flannel.1 flannel.ipip vxlan.calico cni0 veth2 veth3 cali2 cali3; do
  ip link del $name 2>/dev/null
done
ip link set tunl0 down 2>/dev/null && ip addr flush dev tunl0
ip route flush root {pods}
for chain in FLANNEL-POSTRTG cali-nat-outgoing; do
  iptables -w -t nat -D POSTROUTING -j $chain 2>/dev/null
  iptables -w -t nat -F $chain 2>/dev/null && iptables -w -t nat -X $chain
done
ipset destroy cali40masq-ipam-pools 2>/dev/null; ipset destroy cali40all-ipam-pools 2>/dev/null
"""


@dataclass(frozen=True)
class Node:
    """One node: its address with the prefix length, the interface that has it and its MTU."""

    name: str
    number: int
    address: str
    interface: str
    mtu: int

    @property
    def ip(self) -> str:
        """The address alone."""
        return str(ip_interface(self.address).ip)

    @property
    def mac(self) -> str:
        """Of its VXLAN device."""
        return f"66:77:00:00:00:{self.number:02x}"

    def adjacent(self, other: Node) -> bool:
        """Whether both are in one subnet."""
        return ip_interface(self.address).network == ip_interface(other.address).network


@dataclass(frozen=True)
class Pods:
    """What a node's pods get: their block, and their MTU."""

    block: str
    mtu: int

    def at(self, number: int) -> str:
        """One address of the block."""
        return str(ip_network(self.block)[number])


def flannel(config_map: Mapping[str, Any], nodes: Iterable[Node], own: str) -> tuple[Pods, str]:
    """What flanneld and its plugin do on the node `own`, from the rendered ConfigMap."""
    conf = json.loads(config_map["data"]["net-conf.json"])
    every = list(nodes)
    node = next(one for one in every if one.name == own)
    blocks = _blocks(conf["Network"], conf.get("SubnetLen", 24), every)
    backend = conf["Backend"]
    kind, direct = backend["Type"], backend.get("DirectRouting", False)
    # only VXLAN and WireGuard have the key; the others go by the interface
    mtu = backend.get("MTU", node.mtu) if kind == "vxlan" else node.mtu
    mtu -= {"vxlan": 50, "ipip": 20, "host-gw": 0}[kind]
    pods = Pods(blocks[own], mtu)
    device = {"vxlan": f"flannel.{backend.get('VNI', 1)}", "ipip": "flannel.ipip"}.get(kind, "")
    lines = list(_prepared(conf["Network"]))
    if kind == "vxlan":
        lines += _vxlan(device, backend["VNI"], backend["Port"], node, pods.at(0), mtu)
    elif kind == "ipip":
        lines += [
            f"ip link add {device} type ipip local {node.ip} ttl inherit",
            f"ip addr add {pods.at(0)}/32 dev {device}",
            f"ip link set {device} mtu {mtu} up",
        ]
    for other in every:
        if other.name == own:
            continue
        near = kind == "host-gw" or (direct and node.adjacent(other))
        lines += _route(device, kind, node, other, blocks[other.name], 0, near=near)
    lines += _flannel_nat(conf["Network"], pods.block)
    lines += [
        "modprobe br_netfilter; sysctl -qw net.bridge.bridge-nf-call-iptables=1",
        f"ip link add cni0 type bridge; ip link set cni0 mtu {mtu} up",
        f"ip addr add {pods.at(1)}/{ip_network(pods.block).prefixlen} dev cni0",
    ]
    for index, name in enumerate(("pod-a", "pod-b"), 2):
        lines += [
            *_veth(name, f"veth{index}", pods, index, ip_network(pods.block).prefixlen),
            f"ip link set veth{index} master cni0",
            f"ip -n {name} route add default via {pods.at(1)}",
        ]
    return pods, "\n".join(lines)


def calico(
    installation: Mapping[str, Any], pool: Mapping[str, Any], nodes: Iterable[Node], own: str
) -> tuple[Pods, str]:
    """What calico-node and its plugin do on the node `own`, from rendered objects.

    installation: its MTU reaches Felix and the plugin; pool: an IPPool.
    """
    every = list(nodes)
    node = next(one for one in every if one.name == own)
    spec = pool["spec"]
    blocks = _blocks(spec["cidr"], spec["blockSize"], every)
    pods = Pods(blocks[own], installation["spec"]["calicoNetwork"]["mtu"])
    mode, device = spec["ipipMode"], "tunl0"
    lines = list(_prepared(spec["cidr"]))
    if spec["vxlanMode"] != "Never":
        mode, device = spec["vxlanMode"], "vxlan.calico"
        lines += _vxlan(device, 4096, 4789, node, pods.at(0), pods.mtu)
    elif mode != "Never":
        lines += [
            "modprobe ipip",
            f"ip addr add {pods.at(0)}/32 dev {device}",
            f"ip link set {device} mtu {pods.mtu} up",
        ]
    kind = "vxlan" if device == "vxlan.calico" else "ipip"
    for other in every:
        if other.name != own:
            near = mode == "Never" or (mode == "CrossSubnet" and node.adjacent(other))
            lines += _route(device, kind, node, other, blocks[other.name], 0, near=near)
    lines.append(f"ip route add blackhole {pods.block}")
    if spec["natOutgoing"]:
        lines += _calico_nat(spec["cidr"])
    for index, name in enumerate(("pod-a", "pod-b"), 2):
        lines += [
            *_veth(name, f"cali{index}", pods, index, 32),
            f"sysctl -qw net.ipv4.conf.cali{index}.proxy_arp=1",
            f"ip route add {pods.at(index)} dev cali{index} scope link",
            f"ip -n {name} route add 169.254.1.1 dev eth0 scope link",
            f"ip -n {name} route add default via 169.254.1.1",
        ]
    return pods, "\n".join(lines)


def _blocks(cidr: str, length: int, nodes: Iterable[Node]) -> dict[str, str]:
    """A block for each node, as the controller-manager or Calico's IPAM would hand them out."""
    network = ip_network(cidr)
    size = 2 ** (32 - length)
    return {
        node.name: str(ip_network((int(network[0]) + node.number * size, length))) for node in nodes
    }


def _prepared(pods: str) -> Iterator[str]:
    yield CLEAN.format(pods=pods)
    # from here on every failure is told; the caller decides which may be
    yield "sysctl -qw net.ipv4.ip_forward=1"


def _vxlan(device: str, vni: int, port: int, node: Node, address: str, mtu: int) -> tuple[str, ...]:
    return (
        f"ip link add {device} address {node.mac} type vxlan id {vni} local {node.ip}"
        f" dev {node.interface} dstport {port} nolearning",
        f"ip addr add {address}/32 dev {device}",
        f"ip link set {device} mtu {mtu} up",
    )


def _route(
    device: str, kind: str, node: Node, other: Node, block: str, tunnel: int, *, near: bool
) -> tuple[str, ...]:
    """The way to another node's pods; tunnel: which address of the block its device has."""
    if near:
        return (f"ip route add {block} via {other.ip} dev {node.interface}",)
    if kind == "ipip":
        return (f"ip route add {block} via {other.ip} dev {device} onlink",)
    address = ip_network(block)[tunnel]
    return (
        f"ip neigh replace {address} lladdr {other.mac} dev {device} nud permanent",
        f"bridge fdb replace {other.mac} dev {device} dst {other.ip} self permanent",
        f"ip route add {block} via {address} dev {device} onlink",
    )


def _veth(name: str, outside: str, pods: Pods, index: int, prefix: int) -> tuple[str, ...]:
    return (
        f"ip netns add {name}",
        f"ip link add {outside} mtu {pods.mtu} type veth"
        f" peer name eth0 mtu {pods.mtu} netns {name}",
        f"ip link set {outside} up; ip -n {name} link set lo up; ip -n {name} link set eth0 up",
        f"ip -n {name} addr add {pods.at(index)}/{prefix} dev eth0",
    )


def _flannel_nat(cluster: str, block: str) -> tuple[str, ...]:
    """masqRules of `--ip-masq`."""
    chain = "iptables -w -t nat -A FLANNEL-POSTRTG"
    return (
        "iptables -w -t nat -N FLANNEL-POSTRTG",
        "iptables -w -t nat -A POSTROUTING -j FLANNEL-POSTRTG",
        f"{chain} -m mark --mark 0x4000/0x4000 -j RETURN",
        f"{chain} -s {block} -d {cluster} -j RETURN",
        f"{chain} -s {cluster} -d {block} -j RETURN",
        f"{chain} ! -s {cluster} -d {block} -j RETURN",
        f"{chain} -s {cluster} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
        f"{chain} ! -s {cluster} -d {cluster} -j MASQUERADE --random-fully",
    )


def _calico_nat(cidr: str) -> tuple[str, ...]:
    """natOutgoing: what leaves a pool that has it and goes into no pool."""
    masq, known = "cali40masq-ipam-pools", "cali40all-ipam-pools"
    sets = [f"ipset create {name} hash:net; ipset add {name} {cidr}" for name in (masq, known)]
    return (
        *sets,
        "iptables -w -t nat -N cali-nat-outgoing",
        "iptables -w -t nat -A POSTROUTING -j cali-nat-outgoing",
        f"iptables -w -t nat -A cali-nat-outgoing -m set --match-set {masq} src"
        f" -m set ! --match-set {known} dst -j MASQUERADE --random-fully",
    )
