"""The shared `network` section: addresses, the CNI and the size of packets."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from underlay.addressing.mtu import CIPHERS
from underlay.settings.section import Part, Section


def _network(text: str) -> str:
    """A network, host bits zero."""
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"not a network: {text!r}; write it as 10.244.0.0/16") from error


def _address(text: str) -> str:
    """An address."""
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
    """ESP in tunnel mode on the way between nodes [RFC 4303].

    cipher: cipher of the child SAs, which decides the bytes each packet loses {`aes-sha1`,
        `aes-sha256`, `aes-sha384`, `aes-sha512`, `aesgcm16`, `chacha20poly1305`} [RFC 4303, RFC
        4106, RFC 7634].
    nat_t: whether UDP carries ESP, because a NAT lies between [RFC 3948].
    """

    cipher: Annotated[str, AfterValidator(_cipher)]
    nat_t: bool = False


class Network(Section):
    """What lies beneath the pods.

    address: this node's own address, none for the source address of the route to its peers
        [kubelet, --node-ip].
    address_v6: this node's IPv6 address in a dual-stack cluster [KEP-563].
    node_cidr: network that the nodes' own addresses are in [underlay].
    pod_cidr: network of all pods of the cluster [kube-controller-manager, --cluster-cidr].
    service_cidr: network of the ClusterIPs [kube-apiserver, --service-cluster-ip-range].
    pod_cidr_v6: IPv6 network of all pods of a dual-stack cluster [KEP-563].
    service_cidr_v6: IPv6 network of the ClusterIPs of a dual-stack cluster [KEP-563].
    node_prefix: prefix length of one node's pod block, none for 24, with Calico 26
        [kube-controller-manager, --node-cidr-mask-size; Calico, IPPool blockSize].
    node_prefix_v6: prefix length of one node's IPv6 pod block, none for 64, with Calico 122
        [kube-controller-manager, --node-cidr-mask-size-ipv6; Calico, IPPool blockSize].
    max_pods: most pods of one node, as its kubelet is told [KubeletConfiguration, maxPods].
    cni: what carries pods between nodes [underlay].
    encapsulation: what pods' packets are wrapped in, flannel's backend (`none` is host-gw) or
        Calico's [flannel, backends.md; Calico, IPPool ipipMode and vxlanMode].
    bgp: whether Calico's BIRD runs [Calico, Installation calicoNetwork.bgp].
    typha: whether Calico's Typha runs between the API server and Felix [Calico, Typha overview].
    mtu: largest packet in bytes on the path between the nodes, none for what their interfaces say
        [RFC 791, RFC 1191].
    esp: IPsec on that path, beneath the CNI [RFC 4303].
    transport: the WireGuard overlay beneath the CNI {a name in `wireguard.overlays`} [underlay].
    pod_mtu: largest packet in bytes that pods must get, none for what is left [RFC 791].
    remote_cidrs: name -> network of another cluster, a site or an IPsec selector, which must not
        overlap with ours [underlay].
    node_local_dns: address of NodeLocal DNSCache [KEP-1024].
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
