"""Named sets of kernel settings, each value with its reason.

From sections 7.2 and 8.3 of the guide this product follows, corrected where kernels have moved on.
The rule: where more is safe, a value is a minimum, so that no profile lowers what a newer kernel or
an administrator has set higher; exact is what is a choice or where less is the purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

from underlay.operations.sysctl import BUCKETS, MAX, Wanted


@dataclass(frozen=True)
class Entry:
    """One setting of a profile and why it is there."""

    wanted: Wanted
    why: str


def _exact(value: object, why: str) -> Entry:
    return Entry(Wanted(str(value)), why)


def _at_least(value: object, why: str) -> Entry:
    return Entry(Wanted(str(value), at_least=True), why)


KUBERNETES_NODE: dict[str, Entry] = {
    "net.ipv4.ip_forward": _exact(1, "pods are routed through the node"),
    "net.bridge.bridge-nf-call-iptables": _exact(1, "bridged pod traffic must meet Service rules"),
    "net.bridge.bridge-nf-call-ip6tables": _exact(1, "the same for IPv6"),
    "net.core.somaxconn": _at_least(32768, "backlog of listeners in the host network"),
    "net.ipv4.tcp_max_syn_backlog": _at_least(8192, "half-open connections per listener"),
    "net.core.netdev_max_backlog": _at_least(16384, "packets queued per CPU before a drop"),
    MAX: _at_least("auto", "by memory and cores; see the conntrack section of the documentation"),
    BUCKETS: _at_least("auto", "a quarter of the table, so that chains stay short"),
    "net.netfilter.nf_conntrack_tcp_timeout_established": _exact(
        86400, "a day instead of five: what kube-proxy sets too"
    ),
    "net.ipv4.tcp_tw_reuse": _exact(1, "outgoing connections reuse ports in TIME_WAIT"),
    "net.ipv4.tcp_fin_timeout": _exact(15, "orphaned connections in FIN_WAIT_2"),
    "net.core.rmem_max": _at_least(16777216, "largest receive buffer a program may ask for"),
    "net.core.wmem_max": _at_least(16777216, "largest send buffer a program may ask for"),
    "net.ipv4.tcp_rmem": _at_least("4096 131072 16777216", "receive autotuning up to 16 MiB"),
    "net.ipv4.tcp_wmem": _at_least("4096 65536 16777216", "send autotuning up to 16 MiB"),
    "fs.inotify.max_user_instances": _at_least(8192, "each kubelet, runtime and log reader"),
    "fs.inotify.max_user_watches": _at_least(524288, "files watched by all of them"),
}

LARGE_CLUSTER: dict[str, Entry] = {
    "net.ipv4.neigh.default.gc_thresh1": _at_least(4096, "neighbours that are never collected"),
    "net.ipv4.neigh.default.gc_thresh2": _at_least(6144, "collected after five seconds above this"),
    "net.ipv4.neigh.default.gc_thresh3": _at_least(
        8192, "hard limit, one table for all namespaces"
    ),
    "net.core.somaxconn": _at_least(65535, "many Services behind one node"),
    "net.ipv4.ip_local_port_range": _at_least("10240 65000", "ports for outgoing connections"),
    "net.ipv4.ip_local_reserved_ports": _at_least("30000-32767", "NodePorts stay free"),
}

VXLAN_THROUGHPUT: dict[str, Entry] = {
    "net.core.rmem_max": _at_least(16777216, "encapsulated traffic comes in bursts"),
    "net.core.wmem_max": _at_least(16777216, "the same on the way out"),
    "net.ipv4.tcp_rmem": _at_least("4096 87380 16777216", "receive autotuning up to 16 MiB"),
    "net.ipv4.tcp_wmem": _at_least("4096 65536 16777216", "send autotuning up to 16 MiB"),
    "net.core.netdev_max_backlog": _at_least(5000, "packets queued per CPU before a drop"),
}

PROFILES: dict[str, dict[str, Entry]] = {
    "kubernetes-node": KUBERNETES_NODE,
    "large-cluster": LARGE_CLUSTER,
    "vxlan-throughput": VXLAN_THROUGHPUT,
}
