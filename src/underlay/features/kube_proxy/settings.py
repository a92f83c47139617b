"""The `kube_proxy` section."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from underlay.settings import Part, Section

Mode = Literal["iptables", "ipvs", "nftables"]

#: What kube-proxy's own validation accepts (pkg/proxy/apis/config/validation).
Scheduler = Literal["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq"]

#: Findings that a run may go on in spite of.
Acceptable = Literal[
    "default-drop", "foreign-servers", "nodelocal-dns", "calico-nftables", "calico-dataplane",
    "strict-arp", "submariner", "rollout",
    "drain",
]  # fmt: skip

_DURATION = re.compile(r"0|(?=\d)(\d+h)?(\d+m(?!s))?(\d+(\.\d+)?s)?(\d+ms)?")


def _duration(text: str) -> str:
    """A time as Go writes it: 30s, 1m30s, 0s."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"not a duration: {text!r}; write a number with its unit, as 30s or 1m30s")
    return text


def _network(text: str) -> str:
    """A network, host bits zero."""
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"not a network: {text!r}; write it as 10.0.0.0/24") from error
    return text


def _share(found: int | str) -> int | str:
    """A number of nodes from 1, or `N%`."""
    if isinstance(found, str) and not re.fullmatch(r"([1-9]\d?|100)%", found):
        raise ValueError(f"not a share: {found!r}; write a number of nodes, or 25%")
    if isinstance(found, int) and found < 1:
        raise ValueError(f"not a number of nodes: {found}; write 1 or more")
    return found


def _node_port_addresses(found: tuple[str, ...]) -> tuple[str, ...]:
    """Networks, or the single word `primary`."""
    if found != ("primary",):
        for text in found:
            _network(text)
    return found


#: A Go duration as kube-proxy writes it.
Duration = Annotated[str, AfterValidator(_duration)]
Share = Annotated[int | str, AfterValidator(_share)]
Network = Annotated[str, AfterValidator(_network)]
NodePortAddresses = Annotated[tuple[str, ...], AfterValidator(_node_port_addresses)]


class Iptables(Part):
    """`iptables` of KubeProxyConfiguration; none leaves what the cluster has
    [KubeProxyConfiguration, iptables].

    masquerade_all: masquerade every packet to a ClusterIP, not only those from outside
        (`masqueradeAll`).
    masquerade_bit: bit of the packet mark that asks for masquerading (`masqueradeBit`).
    localhost_node_ports: answer NodePorts on 127.0.0.1 too (`localhostNodePorts`).
    sync_period: longest time between two full writes of the rules (`syncPeriod`).
    min_sync_period: shortest time between two writes of the rules (`minSyncPeriod`).
    """

    masquerade_all: bool | None = None
    masquerade_bit: int | None = Field(default=None, ge=0, le=31)
    localhost_node_ports: bool | None = None
    sync_period: Duration | None = None
    min_sync_period: Duration | None = None


class Ipvs(Part):
    """`ipvs` of KubeProxyConfiguration; none leaves what the cluster has [KubeProxyConfiguration,
    ipvs].

    scheduler: how a connection gets its endpoint (`scheduler`) [KubeProxyConfiguration, ipvs;
        linux, net/netfilter/ipvs].
    strict_arp: answer ARP for addresses of the asked interface only, which MetalLB and kube-vip
        need (`strictARP`).
    sync_period: longest time between two full writes of the rules (`syncPeriod`).
    min_sync_period: shortest time between two writes of the rules (`minSyncPeriod`).
    tcp_timeout: how long a silent TCP connection is kept, 0s for the kernel's value (`tcpTimeout`).
    tcp_fin_timeout: how long a TCP connection is kept after its FIN, 0s for the kernel's value
        (`tcpFinTimeout`).
    udp_timeout: how long a silent UDP flow is kept, 0s for the kernel's value (`udpTimeout`).
    exclude_cidrs: networks whose virtual servers kube-proxy leaves alone (`excludeCIDRs`).
    """

    scheduler: Scheduler = "rr"
    strict_arp: bool | None = None
    sync_period: Duration | None = None
    min_sync_period: Duration | None = None
    tcp_timeout: Duration | None = None
    tcp_fin_timeout: Duration | None = None
    udp_timeout: Duration | None = None
    exclude_cidrs: tuple[Network, ...] | None = None


class Nftables(Part):
    """`nftables` of KubeProxyConfiguration; none leaves what the cluster has
    [KubeProxyConfiguration, nftables].

    masquerade_all: masquerade every packet to a ClusterIP, not only those from outside
        (`masqueradeAll`).
    masquerade_bit: bit of the packet mark that asks for masquerading (`masqueradeBit`).
    sync_period: longest time between two full writes of the rules (`syncPeriod`).
    min_sync_period: shortest time between two writes of the rules (`minSyncPeriod`).
    """

    masquerade_all: bool | None = None
    masquerade_bit: int | None = Field(default=None, ge=0, le=31)
    sync_period: Duration | None = None
    min_sync_period: Duration | None = None


class Conntrack(Part):
    """`conntrack` of KubeProxyConfiguration; none leaves what the cluster has
    [KubeProxyConfiguration, conntrack].

    max_per_core: entries of the connection table for each CPU, 0 leaves `nf_conntrack_max` to the
        node (`maxPerCore`).
    min: fewest entries of the table, whatever the number of CPUs (`min`).
    tcp_established_timeout: how long an idle TCP connection is kept (`tcpEstablishedTimeout`).
    tcp_close_wait_timeout: how long a TCP connection in CLOSE_WAIT is kept (`tcpCloseWaitTimeout`).
    tcp_be_liberal: take TCP packets outside the window as valid (`tcpBeLiberal`).
    udp_timeout: how long a UDP flow without an answer is kept (`udpTimeout`).
    udp_stream_timeout: how long a UDP flow with answers is kept (`udpStreamTimeout`).
    """

    max_per_core: int | None = Field(default=None, ge=0)
    min: int | None = Field(default=None, ge=0)
    tcp_established_timeout: Duration | None = None
    tcp_close_wait_timeout: Duration | None = None
    tcp_be_liberal: bool | None = None
    udp_timeout: Duration | None = None
    udp_stream_timeout: Duration | None = None


class Rollout(Part):
    """In which steps the nodes are switched [underlay].

    canary: how many nodes are switched first, before any other.
    batch: how many nodes are switched at a time after them, a share is one of the run's nodes and
        rounded down, but at least one node [Kubernetes, DaemonSet maxUnavailable].
    max_unavailable: most nodes of one batch, whatever its share [Kubernetes, DaemonSet
        maxUnavailable].
    pause: seconds between two batches, for people to look.
    take_out: whether a node takes no new pods while it is switched (`cordon`), or also gives up
        those it has (`drain`) [Kubernetes, kubectl drain].
    drain_seconds: how many seconds the pods may take to leave [Kubernetes, kubectl drain].
    """

    canary: int = Field(default=1, ge=1)
    batch: Share = 1
    max_unavailable: int | None = Field(default=None, ge=1)
    pause: int = Field(default=0, ge=0, le=86400)
    take_out: Literal["no", "cordon", "drain"] = "no"
    drain_seconds: int = Field(default=600, ge=10, le=7200)


class KubeProxy(Section):
    """How kube-proxy programs Services.

    mode: the mode that `deploys/proxy_mode.py` migrates to [KEP-3866, KEP-5495].
    accept_deprecated: allow a migration to ipvs on Kubernetes 1.35 and newer [KEP-5495].
    accept: ids of findings to go on in spite of [underlay].
    iptables: what mode iptables uses [KubeProxyConfiguration, iptables].
    ipvs: what mode ipvs uses [KubeProxyConfiguration, ipvs].
    nftables: what mode nftables uses [KubeProxyConfiguration, nftables].
    conntrack: what every mode uses for connection tracking [KubeProxyConfiguration, conntrack].
    node_port_addresses: networks that NodePorts listen on, none leaves what the cluster has
        [KubeProxyConfiguration, nodePortAddresses].
    node_name: the node's name in Kubernetes, none for the host's {a name of a Node} [Kubernetes,
        Node metadata.name].
    rollout: in which steps the nodes are switched [underlay].
    wait_seconds: how many seconds one kube-proxy may take to come back [underlay].
    probes: how many Services of each kind are tried from every node [underlay].
    on_failure: whether the nodes that were switched before a failure go back too (`rollback_all`)
        or stay (`halt`) [underlay].
    """

    KEY: ClassVar[str] = "kube_proxy"

    mode: Mode = "iptables"
    accept_deprecated: bool = False
    accept: tuple[Acceptable, ...] = ()
    iptables: Iptables = Iptables()
    ipvs: Ipvs = Ipvs()
    nftables: Nftables = Nftables()
    conntrack: Conntrack = Conntrack()
    node_port_addresses: NodePortAddresses | None = None
    node_name: str | None = None
    rollout: Rollout = Rollout()
    wait_seconds: int = Field(default=300, ge=10, le=3600)
    probes: int = Field(default=5, ge=1, le=50)
    on_failure: Literal["rollback_all", "halt"] = "rollback_all"
