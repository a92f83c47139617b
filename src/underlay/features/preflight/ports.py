"""The port matrix as it will be used: from roles, CNI, encapsulation and tunnels. Pure.

Ports that listen on the loopback only (10249, 10257, 10259) and those that are gone (10251, 10252,
10255) are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from underlay.features.preflight.settings import Preflight
from underlay.settings.network import Network

EVERYONE = "all"
CONTROL_PLANE = "control_plane"
ETCD = "etcd"
#: Protocols that are not part of the matrix: a network may live without their answers.
ICMP = ("icmp", "icmp6")


@dataclass(frozen=True)
class Use:
    """One use of the network: who connects to whom, by what, for what.

    protocol: tcp, udp, ipip (4) or esp (50); port: 0 for the latter two; sources, targets: groups;
    full_size: the datagrams will be as large as the path allows.
    """

    protocol: str
    port: int
    sources: str
    targets: str
    why: str
    full_size: bool = False

    @property
    def label(self) -> str:
        """As people write it: `8472/udp`, `IPIP`."""
        return label(self.protocol, self.port)


def label(protocol: str, port: int) -> str:
    """`8472/udp`, `IPIP (protocol 4)`, `ESP (protocol 50)`."""
    names = {
        "ipip": "IPIP (protocol 4)", "esp": "ESP (protocol 50)", "icmp": "ICMP echo",
        "icmp6": "ICMPv6 echo",
    }  # fmt: skip
    return names.get(protocol, f"{port}/{protocol}")


def uses(groups: Mapping[str, Sequence[str]], network: Network, preflight: Preflight) -> list[Use]:
    """Every use that this inventory will make, each protocol and port once per pair of groups."""
    found = [
        *_control_plane(groups),
        *_cni(network),
        *_tunnels(groups),
        *(Use("tcp", port, EVERYONE, EVERYONE, "NodePort sample") for port in preflight.node_ports),
        *(Use(p.protocol, p.port, p.sources, p.targets, p.why) for p in preflight.ports),
    ]
    unique: dict[tuple[str, int, str, str], Use] = {}
    for use in found:
        unique.setdefault((use.protocol, use.port, use.sources, use.targets), use)
    return list(unique.values())


def etcd_members(groups: Mapping[str, Sequence[str]]) -> str:
    """The group that runs etcd: its own, else the control plane."""
    return ETCD if groups.get(ETCD) else CONTROL_PLANE


def _control_plane(groups: Mapping[str, Sequence[str]]) -> Iterator[Use]:
    if groups.get(CONTROL_PLANE):
        etcd = etcd_members(groups)
        yield Use("tcp", 6443, EVERYONE, CONTROL_PLANE, "kube-apiserver")
        yield Use("tcp", 2379, CONTROL_PLANE, etcd, "etcd client")
        yield Use("tcp", 2379, etcd, etcd, "etcd client")
        yield Use("tcp", 2380, etcd, etcd, "etcd peer")
        yield Use("tcp", 10250, CONTROL_PLANE, EVERYONE, "kubelet")
        yield Use("tcp", 10256, CONTROL_PLANE, EVERYONE, "kube-proxy health")


def _cni(network: Network) -> Iterator[Use]:
    kind = network.encapsulation.removesuffix("-cross-subnet")
    flannel = {"vxlan": (8472,), "udp": (8285,), "wireguard": (51820,)}
    calico = {"vxlan": (4789,), "wireguard": (51820,)}
    ports = {"flannel": flannel, "calico": calico}.get(network.cni, {}).get(kind, ())
    for port in ports:
        yield Use("udp", port, EVERYONE, EVERYONE, f"{network.cni} {kind}", full_size=True)
    if network.cni != "none" and kind == "ipip":
        yield Use("ipip", 0, EVERYONE, EVERYONE, f"{network.cni} ipip")
    if network.cni == "flannel" and kind == "ipsec":
        yield from _ipsec(EVERYONE)
    if network.cni == "calico" and network.bgp:
        yield Use("tcp", 179, EVERYONE, EVERYONE, "Calico BGP")
    if network.cni == "calico" and network.typha:
        yield Use("tcp", 5473, EVERYONE, EVERYONE, "Calico Typha")


def _tunnels(groups: Mapping[str, Sequence[str]]) -> Iterator[Use]:
    if groups.get("hubs") and groups.get("spokes"):
        # only the spoke opens: it may sit behind NAT
        yield Use("udp", 51820, "spokes", "hubs", "WireGuard", full_size=True)
    if groups.get("gateways"):
        yield from _ipsec("gateways")


def _ipsec(group: str) -> Iterator[Use]:
    yield Use("udp", 500, group, group, "IKE")
    yield Use("udp", 4500, group, group, "IKE and ESP behind NAT", full_size=True)
    yield Use("esp", 0, group, group, "ESP")
