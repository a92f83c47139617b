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
    if not _DURATION.fullmatch(text):
        raise ValueError(f"not a duration: {text!r}; write a number with its unit, as 30s or 1m30s")
    return text


def _network(text: str) -> str:
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
    """`iptables` of KubeProxyConfiguration; None leaves what the cluster has."""

    masquerade_all: bool | None = None
    masquerade_bit: int | None = Field(default=None, ge=0, le=31)
    localhost_node_ports: bool | None = None
    sync_period: Duration | None = None
    min_sync_period: Duration | None = None


class Ipvs(Part):
    """`ipvs` of KubeProxyConfiguration; None leaves what the cluster has.

    A timeout of 0s leaves the kernel's value.
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
    """`nftables` of KubeProxyConfiguration; None leaves what the cluster has."""

    masquerade_all: bool | None = None
    masquerade_bit: int | None = Field(default=None, ge=0, le=31)
    sync_period: Duration | None = None
    min_sync_period: Duration | None = None


class Conntrack(Part):
    """`conntrack` of KubeProxyConfiguration; None leaves what the cluster has.

    max_per_core: entries per CPU, 0 leaves `nf_conntrack_max` to the node; min: at least so many.
    """

    max_per_core: int | None = Field(default=None, ge=0)
    min: int | None = Field(default=None, ge=0)
    tcp_established_timeout: Duration | None = None
    tcp_close_wait_timeout: Duration | None = None
    tcp_be_liberal: bool | None = None
    udp_timeout: Duration | None = None
    udp_stream_timeout: Duration | None = None


class Rollout(Part):
    """In which steps the nodes are switched.

    canary, batch: how many nodes are switched first, and then at a time (a number, or a share of
    the nodes of this run, rounded down as Kubernetes rounds maxUnavailable, at least one);
    max_unavailable: no batch is larger; pause: seconds between two batches, for people to look;
    take_out: whether a node takes no new pods while it is switched, or gives up those it has as
    well; drain_seconds: how long they may take to leave.
    """

    canary: int = Field(default=1, ge=1)
    batch: Share = 1
    max_unavailable: int | None = Field(default=None, ge=1)
    pause: int = Field(default=0, ge=0, le=86400)
    take_out: Literal["no", "cordon", "drain"] = "no"
    drain_seconds: int = Field(default=600, ge=10, le=7200)


class KubeProxy(Section):
    """How kube-proxy programs Services.

    mode: what `deploys/proxy_mode.py` migrates to; accept_deprecated: allow ipvs on 1.35 and newer;
    accept: ids of findings to go on in spite of; iptables, ipvs, nftables, conntrack: objects of
    the cluster's KubeProxyConfiguration; node_port_addresses: networks that NodePorts listen on, or
    the single word `primary`, None leaves what the cluster has; node_name: the node's name in
    Kubernetes when it is not the host's; rollout: in which
    steps; wait_seconds: how long one kube-proxy may take to come back; probes: how many
    Services of each kind are tried from every node; on_failure: whether the nodes that were
    switched before go back too.
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
