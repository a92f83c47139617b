"""What must hold on a node before its kube-proxy is set to another mode. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from underlay.facts.kernel import ModuleState
from underlay.facts.kube_proxy import NodeProxy, VirtualServer
from underlay.features.kube_proxy.config_text import read, value_of
from underlay.features.kube_proxy.configuration import (
    owns_conntrack_max,
    swallowed,
    unsupported,
    values,
)
from underlay.features.kube_proxy.finding import Finding
from underlay.features.kube_proxy.settings import KubeProxy

MODES = ("iptables", "ipvs", "nftables")

#: Releases by KEP-5495: deprecated, and no longer started without a gate.
IPVS_DEPRECATED, IPVS_OFF = 35, 40

#: First release whose nftables mode is on without a gate (KEP-3866), and the kernel it needs
#: (pkg/proxy/nftables/supported.go).
NFTABLES, NFTABLES_KERNEL = 31, (5, 13)


@dataclass(frozen=True)
class Question:
    """What is asked of one node.

    minor: of the API server; config: the configuration that is to be written; known: a kube-proxy
    pod runs on it; foreign: virtual servers that are not kube-proxy's; cluster_ips: of every
    Service; owns_max: this host's sysctl section sets nf_conntrack_max.
    """

    settings: KubeProxy
    mode: str
    minor: int
    config: str
    node: NodeProxy
    known: bool
    foreign: Sequence[VirtualServer]
    cluster_ips: Sequence[str]
    owns_max: bool


def modules(settings: KubeProxy, mode: str) -> tuple[str, ...]:
    """Kernel modules that a mode needs, its scheduler's included."""
    if mode == "ipvs":
        return ("ip_vs", f"ip_vs_{settings.ipvs.scheduler}", "nf_conntrack")
    return ("nf_tables", "nf_conntrack") if mode == "nftables" else ("nf_conntrack",)


def findings(asked: Question) -> list[Finding]:
    """Everything there is to say about this node; a node that is as wanted is asked too."""
    return [
        found
        for check in (_node, _version, _keys, _modules, _tools, _foreign, _firewall, _differences)
        for found in check(asked)
    ]


def _node(asked: Question) -> Iterator[Finding]:
    if not asked.known:
        yield Finding(
            "node",
            "no such node in the cluster with a kube-proxy pod; set kube_proxy.node_name, or take"
            " the host out with --exclude",
        )
    if asked.node.mode not in MODES:
        yield Finding(
            "answer",
            f"kube-proxy does not tell its mode on its metrics address (got {asked.node.mode!r});"
            " see its log",
        )


def _version(asked: Question) -> Iterator[Finding]:
    minor = asked.minor
    if asked.mode == "ipvs" and minor >= IPVS_OFF:
        yield Finding(
            "version",
            f"Kubernetes 1.{minor} does not start kube-proxy in ipvs mode; use nftables",
        )
    elif asked.mode == "ipvs" and minor >= IPVS_DEPRECATED and not asked.settings.accept_deprecated:
        yield Finding(
            "version",
            f"ipvs mode is deprecated in Kubernetes 1.{minor} and removed in 1.43; use nftables, or"
            " set kube_proxy.accept_deprecated",
        )
    if asked.mode == "nftables" and minor < NFTABLES:
        yield Finding(
            "version",
            f"Kubernetes 1.{minor} has no usable nftables mode; upgrade to 1.{NFTABLES} or newer",
        )


def _keys(asked: Question) -> Iterator[Finding]:
    for sentence in unsupported(values(asked.settings, asked.mode), asked.minor):
        yield Finding("keys", sentence)
    exclude = value_of(read(asked.config), ("ipvs", "excludeCIDRs"))
    if asked.mode == "ipvs" and isinstance(exclude, list):
        for sentence in swallowed([str(text) for text in exclude], asked.cluster_ips):
            yield Finding("exclude-cidrs", sentence)
    if asked.owns_max and owns_conntrack_max(asked.config):
        yield Finding(
            "conntrack-owner",
            "the sysctl section sets nf_conntrack_max and kube-proxy writes it too at every start;"
            " set kube_proxy.conntrack.max_per_core to 0, so that the node owns it",
            refuses=False,
        )
    parts = read(asked.config)
    if value_of(parts, (asked.mode, "masqueradeAll")) is True:
        yield Finding(
            "masquerade-all",
            f"{asked.mode}.masqueradeAll hides the addresses of clients from pods and from network"
            " policy; set it to false unless a route is really missing",
            refuses=False,
        )


def _modules(asked: Question) -> Iterator[Finding]:
    for module in modules(asked.settings, asked.mode):
        state = asked.node.modules.get(module, ModuleState.MISSING)
        if state is ModuleState.MISSING:
            yield Finding(
                "modules",
                f"kernel module {module} is neither built in nor loadable; install the package with"
                " this kernel's extra modules, or choose another mode or scheduler",
            )
        elif state is ModuleState.BLOCKED:
            yield Finding(
                "modules-blocked",
                f"kernel module {module} is blocked in modprobe.d of this node; kube-proxy loads it"
                " all the same, because its image has a modprobe.d of its own, but at boot it is"
                " not there before; take the line out",
                refuses=False,
            )
    kernel = re.match(r"(\d+)\.(\d+)", asked.node.kernel)
    if asked.mode == "nftables" and kernel:
        release = (int(kernel.group(1)), int(kernel.group(2)))
        if release < NFTABLES_KERNEL:
            yield Finding(
                "kernel",
                f"kernel {asked.node.kernel} is older than 5.13, which kube-proxy's nftables mode"
                " needs; boot a newer kernel",
            )


def _tools(asked: Question) -> Iterator[Finding]:
    node = asked.node
    needed = {"ipvs": "ipset", "nftables": "nft"}.get(asked.mode)
    if needed and node.image_tools and needed not in node.image_tools:
        yield Finding(
            "image",
            f"kube-proxy's image has no {needed}, which mode {asked.mode} calls; use an image that"
            " carries it",
        )
    ipvs = asked.mode == "ipvs" or (asked.mode == "iptables" and node.mode == "ipvs")
    if ipvs and "ipvsadm" not in node.tools:
        yield Finding(
            "ipvsadm",
            "ipvsadm is missing, without which nobody can remove the virtual servers of ipvs mode"
            " again; install the package ipvsadm",
        )


def _foreign(asked: Question) -> Iterator[Finding]:
    if not asked.foreign:
        return
    listed = ", ".join(str(server) for server in asked.foreign[:4])
    if asked.mode != "ipvs":
        gone = "; kube-proxy in mode nftables flushes the table at its start, so it goes too" if (
            asked.mode == "nftables") else "; it is left alone"  # fmt: skip
        yield Finding(
            "foreign-servers",
            f"virtual servers that are not kube-proxy's: {listed}{gone}",
            refuses=asked.mode == "nftables",
        )
        return
    found = value_of(read(asked.config), ("ipvs", "excludeCIDRs"))
    exclude = [ip_network(str(text)) for text in found] if isinstance(found, list) else []
    outside = [
        server
        for server in asked.foreign
        if not any(ip_address(server.address) in network for network in exclude)
    ]
    if outside:
        listed = ", ".join(str(server) for server in outside[:4])
        yield Finding(
            "foreign-servers",
            f"virtual servers that are not kube-proxy's, which it would delete: {listed}; list"
            " their networks in kube_proxy.ipvs.exclude_cidrs",
        )


def _firewall(asked: Question) -> Iterator[Finding]:
    closed = [chain for chain, policy in asked.node.policies.items() if policy == "DROP"]
    if asked.mode == "ipvs" and closed:
        yield Finding(
            "default-drop",
            f"iptables drops by default in {' and '.join(closed)}, and in mode ipvs the traffic of"
            " Services passes INPUT; accept it there by rules of your own, then accept this"
            " finding",
        )


def _differences(asked: Question) -> Iterator[Finding]:
    if asked.node.mode == asked.mode:
        return
    if asked.mode in {"ipvs", "nftables"} and asked.node.mode == "iptables":
        yield Finding(
            "localhost-node-port",
            f"in mode {asked.mode} no NodePort answers on 127.0.0.1",
            refuses=False,
        )
    if "nftables" in {asked.mode, asked.node.mode}:
        # platformCleanup of cmd/kube-proxy/app/server_linux.go; between the other two it cleans
        # nothing, and what it leaves answers until its successor does
        yield Finding(
            "restart-gap",
            f"kube-proxy removes the rules of mode {asked.node.mode} as it starts in mode"
            f" {asked.mode}, before it has written its own: meanwhile no Service answers new"
            " connections on this node; set kube_proxy.rollout.take_out to drain to have no pods"
            " here then",
            refuses=False,
        )
    if asked.node.mode == "ipvs":
        # a Service's address is local while kube-ipvs0 holds it, so the kernel took it as source
        yield Finding(
            "node-sockets",
            "programs in the node's own network that keep a connection or a UDP socket to a Service"
            " open have its address as their source, which goes with kube-ipvs0: they have to"
            " connect again",
            refuses=False,
        )
    addresses = value_of(read(asked.config), ("nodePortAddresses",))
    if asked.mode == "nftables" and not addresses:
        yield Finding(
            "node-port-addresses",
            "in mode nftables NodePorts answer on the node's primary address only; set"
            " kube_proxy.node_port_addresses to have more",
            refuses=False,
        )
