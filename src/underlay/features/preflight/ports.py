"""The port matrix as it will be used: from roles and from the sections of the inventory. Pure.

Ports that listen on the loopback only (10249, 10257, 10259) and those that are gone (10251, 10252,
10255) are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from underlay.features.calls import Call, esp_in_udp, ike, reflected, wireguard
from underlay.features.declared import Declared

EVERYONE = "all"
CONTROL_PLANE = "control_plane"
ETCD = "etcd"
#: Protocols that are not part of the matrix: a network may live without their answers.
ICMP = ("icmp", "icmp6")


@dataclass(frozen=True)
class Use:
    """One use of the network: who connects to whom, by what, for what.

    protocol: tcp, udp, ipip (4) or esp (50); port: 0 for the latter two; sources, targets: groups;
    full_size: the datagrams will be as large as the path allows; calls: who calls whom, where a
    section names the hosts, in place of groups; beneath: a tunnel's own, between the addresses that
    carry it.
    """

    protocol: str
    port: int
    sources: str
    targets: str
    why: str
    full_size: bool = False
    calls: tuple[Call, ...] = ()
    beneath: bool = False

    def call(self, source: str, target: str) -> Call | None:
        """The call between two hosts, None where no section names one."""
        return self._by_ends.get((source, target))

    @cached_property
    def _by_ends(self) -> Mapping[tuple[str, str], Call]:
        return {(call.source, call.target): call for call in self.calls}

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


def uses(groups: Mapping[str, Sequence[str]], declared: Declared) -> list[Use]:
    """Every use that this inventory will make, each protocol and port once per pair of groups."""
    preflight = declared.preflight
    found = [
        *_control_plane(groups),
        *_cni(declared),
        *_tunnels(groups, declared),
        *(Use("tcp", port, EVERYONE, EVERYONE, "NodePort sample") for port in preflight.node_ports),
        *(Use(p.protocol, p.port, p.sources, p.targets, p.why) for p in preflight.ports),
    ]
    unique: dict[tuple[str, int, str, str, tuple[Call, ...]], Use] = {}
    for use in found:
        unique.setdefault((use.protocol, use.port, use.sources, use.targets, use.calls), use)
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


def _cni(declared: Declared) -> Iterator[Use]:
    if declared.network.cni == "flannel":
        yield from _flannel(declared)
    elif declared.network.cni == "calico":
        yield from _calico(declared)


def _flannel(declared: Declared) -> Iterator[Use]:
    kind, settings = declared.network.encapsulation, declared.flannel
    ports = {"vxlan": settings.port, "udp": 8285, "wireguard": settings.wireguard_port}
    if kind in ports:
        yield Use("udp", ports[kind], EVERYONE, EVERYONE, f"flannel {kind}", full_size=True)
    if kind == "ipsec":
        yield from _ipsec(EVERYONE)
    if kind.startswith("ipip"):
        # a backend of flannel's that others install
        yield Use("ipip", 0, EVERYONE, EVERYONE, "flannel ipip")


def _calico(declared: Declared) -> Iterator[Use]:
    network, felix = declared.network, declared.calico.felix
    kinds = declared.calico_kinds
    if "wireguard" in kinds:
        port = int(felix.get("wireguardListeningPort", 51820))
        yield Use("udp", port, EVERYONE, EVERYONE, "calico wireguard", full_size=True)
    if "vxlan" in kinds:
        port = int(felix.get("vxlanPort", 4789))
        yield Use("udp", port, EVERYONE, EVERYONE, "calico vxlan", full_size=True)
    if "ipip" in kinds:
        yield Use("ipip", 0, EVERYONE, EVERYONE, "calico ipip")
    if network.bgp and declared.reflectors.wanted:
        calls = reflected(declared.reflectors, declared.names)
        yield Use("tcp", 179, "", "", "Calico BGP, by reflectors", calls=calls)
    elif network.bgp:
        yield Use("tcp", 179, EVERYONE, EVERYONE, "Calico BGP")
    if _typha(declared):
        yield Use("tcp", 5473, EVERYONE, EVERYONE, "Calico Typha")


def _typha(declared: Declared) -> bool:
    """Whether Typha runs: the operator always brings it, a manifest for many nodes."""
    settings = declared.calico
    if declared.network.typha:
        return True
    if "calico" not in declared.named:
        return False
    many = len(declared.names) >= settings.typha_from
    return settings.install == "operator" or (settings.install == "manifest" and many)


def _tunnels(groups: Mapping[str, Sequence[str]], declared: Declared) -> Iterator[Use]:
    if "wireguard" in declared.named:
        for name, overlay in declared.wireguard.overlays.items():
            if calls := wireguard(overlay):
                yield Use("udp", overlay.port, "", "", f"WireGuard {name}", True, calls, True)
    elif groups.get("hubs") and groups.get("spokes"):
        # only the spoke opens: it may sit behind NAT
        yield Use("udp", 51820, "spokes", "hubs", "WireGuard", full_size=True)
    if "ipsec" in declared.named:
        for name, link in declared.ipsec.present.items():
            yield from _link(name, ike(link), esp_in_udp(link))
    elif groups.get("gateways"):
        yield from _ipsec("gateways")


def _link(name: str, calls: tuple[Call, ...], udp: bool) -> Iterator[Use]:
    if not calls:
        return
    yield Use("udp", 500, "", "", f"IKE of {name}", calls=calls, beneath=True)
    why = f"IKE and ESP of {name}" if udp else f"IKE of {name}, moved"
    yield Use("udp", 4500, "", "", why, udp, calls, True)
    if not udp:
        yield Use("esp", 0, "", "", f"ESP of {name}", calls=calls, beneath=True)


def _ipsec(group: str) -> Iterator[Use]:
    yield Use("udp", 500, group, group, "IKE")
    yield Use("udp", 4500, group, group, "IKE and ESP behind NAT", full_size=True)
    yield Use("esp", 0, group, group, "ESP")
