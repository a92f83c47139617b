"""The numbers that advice rests on, each with its source; AS_OF is when they were read. Pure."""

from __future__ import annotations

from underlay.advice.model import Source

AS_OF = "2026-07"

KEP_NFTABLES = Source(
    "KEP-3866: nftables kube-proxy, GA in 1.33", "kubernetes/enhancements keps/sig-network/3866"
)
KEP_IPVS = Source(
    "KEP-5495: ipvs deprecated in 1.35, refused by default from 1.40, removed in 1.43",
    "kubernetes/enhancements keps/sig-network/5495",
)
KEP_DEFAULT = Source(
    "KEP-5343: nftables as the default, planned for 1.40",
    "kubernetes/enhancements keps/sig-network/5343",
)
KERNEL_FLOOR = Source(
    "kube-proxy's own floor for nftables: kernel 5.13",
    "kubernetes/kubernetes pkg/proxy/nftables/supported.go",
)
THOUSAND = Source(
    "iptables mode gets slow to programme at about 1,000 Services",
    "Calico and EKS documentation; kubernetes/kubernetes issue 133536",
)
LOCALHOST = Source(
    "KEP-6032: NodePorts on localhost in nftables mode, planned",
    "kubernetes/enhancements keps/sig-network/6032",
)
SUBMARINER = Source(
    "Submariner supports kube-proxy in iptables mode only",
    "submariner-io/submariner-website, known issues",
)
CALICO_BGP = Source(
    "Full mesh up to about 100 nodes, then two or more reflectors, meshed among themselves",
    "Calico documentation, networking/configuring/bgp",
)
CALICO_ORDER = Source(
    "A cluster ID takes its node out of the mesh at once: drained nodes, mesh off last",
    "projectcalico/calico libcalico-go/lib/backend/k8s/resources/node.go",
)
CALICO_OVERLAY = Source(
    "Cross-subnet encapsulates only what leaves the subnet",
    "Calico documentation, networking/configuring/vxlan-ipip",
)
FLANNEL_BACKENDS = Source(
    "flannel's backends; a running one is not changed in place",
    "flannel-io/flannel Documentation/backends.md",
)
FLANNEL_TO_CALICO = Source(
    "Live migration from flannel: VXLAN, DirectRouting off, two nodes or more",
    "Calico documentation, getting-started/kubernetes/flannel/migration-from-flannel",
)
NEIGHBOURS = Source(
    "gc_thresh3 is a hard limit of 1024 neighbours, one table for all namespaces",
    "Linux Documentation/networking/ip-sysctl.rst",
)
OVERHEADS = Source(
    "Bytes of each encapsulation", "Linux 6.12 drivers/net: wireguard, vxlan, ipip; underlay's"
    " addressing.mtu"
)  # fmt: skip
DISTRIBUTIONS = Source(
    "Kernels: Debian 12 has 6.1, Ubuntu 22.04 has 5.15, RHEL 9 has 5.14",
    "release notes of the distributions",
)
DEPENDENT = Source("What else in a cluster depends on kube-proxy's mode", "docs/proxy-mode.md")
OURS = Source("Judgement of this project; no project publishes a limit", "docs/advise.md")

#: First release with nftables as GA, with ipvs deprecated, with ipvs refused by default.
NFTABLES_GA, IPVS_DEPRECATED, IPVS_REFUSED = (1, 33), (1, 35), (1, 40)
NFTABLES_KERNEL, CALICO_KERNEL, WIREGUARD_KERNEL = (5, 13), (5, 10), (5, 6)
#: Services above which iptables mode costs too much.
MANY_SERVICES = 1000
#: Nodes above which a full mesh of BGP is given up, and above which a third reflector is worth it.
MESH_UP_TO, TWO_REFLECTORS_UP_TO = 100, 500
#: Nodes up to which a CNI without policy is still the simplest that works.
SMALL = 50
DEFAULT_NEIGHBOURS = 1024
