"""The shared `network` section: addresses, the CNI and the size of packets."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from underlay.addressing.mtu import CIPHERS
from underlay.settings.section import Part, Section


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"not a network: {text!r}; write it as 10.244.0.0/16") from error


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise ValueError(f"not an address: {text!r}; write it as 192.0.2.10") from error


def _cipher(text: str) -> str:
    if text not in CIPHERS:
        raise ValueError(f"no cipher {text!r}; use one of {', '.join(CIPHERS)}")
    return text


Cidr = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]

Encapsulation = Literal[
    "none", "vxlan", "vxlan-cross-subnet", "ipip", "ipip-cross-subnet", "wireguard", "udp", "ipsec"
]


class Esp(Part):
    """ESP in tunnel mode on the way between nodes.

    cipher: of the child SAs; nat_t: whether UDP carries it.
    """

    cipher: Annotated[str, AfterValidator(_cipher)]
    nat_t: bool = False


class Network(Section):
    """What lies beneath the pods.

    address: this node's own address, None for the one of the route to its peers; address_v6,
    pod_cidr_v6, service_cidr_v6: the second family of a dual-stack cluster; node_cidr: where the
    nodes' addresses are; pod_cidr: of the whole cluster; service_cidr: of ClusterIPs;
    node_prefix, node_prefix_v6: bits of one node's pod block; max_pods: of one node, as its kubelet
    is told; cni:
    what carries pods between nodes; encapsulation: flannel's backend (`none` is host-gw) or
    Calico's; bgp: Calico's BIRD; typha: Calico's fan-out; mtu: of the path between the nodes, None
    for what their interfaces say; esp: IPsec on that path; transport: the WireGuard overlay beneath
    the CNI; pod_mtu: what pods must get, None for what is left; remote_cidrs: name ->
    network of other clusters, sites and IPsec selectors; node_local_dns:
    address of NodeLocal DNSCache.
    """

    KEY: ClassVar[str] = "network"

    address: Address | None = None
    address_v6: Address | None = None
    node_cidr: Cidr | None = None
    pod_cidr: Cidr | None = None
    service_cidr: Cidr | None = None
    pod_cidr_v6: Cidr | None = None
    service_cidr_v6: Cidr | None = None
    node_prefix: int | None = Field(default=None, ge=8, le=128)
    node_prefix_v6: int | None = Field(default=None, ge=16, le=128)
    max_pods: int = Field(default=110, ge=1, le=5000)
    cni: Literal["none", "flannel", "calico"] = "none"
    encapsulation: Encapsulation = "vxlan"
    bgp: bool = False
    typha: bool = False
    mtu: int | None = Field(default=None, ge=576, le=65535)
    esp: Esp | None = None
    transport: str | None = None
    pod_mtu: int | None = Field(default=None, ge=576, le=65535)
    remote_cidrs: dict[str, Cidr] = Field(default_factory=dict)
    node_local_dns: Address | None = None

    @property
    def dual_stack(self) -> bool:
        """Whether pods or Services get an IPv6 address besides their IPv4 one."""
        return bool(self.pod_cidr_v6 or self.service_cidr_v6)
