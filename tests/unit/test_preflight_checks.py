"""Every check: what it says of a scene, word by word. The healthy scene passes them all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.preflight_scene import (
    NOW,
    PAIRS,
    Change,
    after,
    dns,
    dual_stack,
    facts,
    flows,
    healthy,
    host,
    mtus,
    network,
    probes,
    scene,
)

from underlay.checks.model import Severity, Status
from underlay.checks.runner import evaluate
from underlay.facts.kernel import ModuleState
from underlay.facts.node import Link, Neighbours, Route
from underlay.facts.sysctl import Line
from underlay.features.preflight.blame import Item, causes
from underlay.features.preflight.changes import SCOPES
from underlay.features.preflight.checks import CHECKS
from underlay.features.preflight.scene import Backup, Clock, ClusterView, Flow

ROOT = Path(__file__).resolve().parent.parent.parent
FAIL, WARN, UNKNOWN, PASS = Status.FAIL, Status.WARN, Status.UNKNOWN, Status.PASS
DROPPED = "no answer, and nothing arrived: dropped on the way"
SKIPPED = Status.SKIPPED
DUAL = dual_stack()


def _to(target: str, port: int, source: str = "") -> Any:
    return lambda f: f.target == target and f.port == port and source in ("", f.source)


#: (check, what is different, status and message of each finding; for skipped: the reason)
CASES: Sequence[tuple[str, Sequence[Change], Sequence[tuple[Status, str]]]] = [
    ("node/answers", [host("n1", lost="lost while reading: no answer for 40 s")],
     [(FAIL, "n1: lost while reading: no answer for 40 s")]),
    ("node/identity", [facts("n1", machine_id="1".zfill(32))],
     [(FAIL, f"n0, n1 have the same machine-id {'1'.zfill(32)!r}")]),
    ("node/identity", [facts("n1", hostname="n2"), facts("n2", machine_id="")],
     [(FAIL, "n1, n2 have the same hostname 'n2'"),
      (FAIL, "n2: /etc/machine-id is missing or empty")]),
    ("node/identity", [facts("n1", product_uuid="uuid-0")],
     [(FAIL, "n0, n1 have the same product uuid 'uuid-0'")]),
    ("node/identity", [facts("n2", links=(Link("eth0", 1500, True, "02:00:00:00:00:01"),))],
     [(FAIL, "n0, n2 have the same MAC address '02:00:00:00:00:01'")]),
    ("node/link", [facts("n1", links=(Link("eth0", 1500, False, "02:00:00:00:00:02"),))],
     [(FAIL, "n1: eth0 has no carrier")]),
    ("node/link", [host("n1", address="203.0.113.9")],
     [(FAIL, "n1: no interface carries its node address (203.0.113.9)")]),
    ("node/link", [facts("n1", links=())],
     [(UNKNOWN, "n1: its interfaces cannot be read; `ip -j` needs iproute2 4.14 or newer")]),
    ("node/swap", [facts("n1", swaps=("/dev/vda2",))], [(WARN, "n1: swap is on (/dev/vda2)")]),
    ("node/swap", [facts("n1", swaps=("/dev/vda2",), kubelet=("failSwapOn: false",))], []),
    ("node/cgroup-driver", [facts("n1", containerd_systemd=False)],
     [(FAIL, "n1: the kubelet uses systemd and containerd cgroupfs")]),
    ("node/cgroup-driver", [facts(n, kubelet=()) for n in ("n0", "n1", "n2")],
     [(SKIPPED, "no node has both a kubelet's and containerd's configuration yet")]),
    ("probe/agent", [host("n1", unprobed="python3 is not on it")],
     [(UNKNOWN, "n1: not probed: python3 is not on it")]),
    ("probe/leftovers", [host("n1", leftover=True)],
     [(FAIL, "n1: the agent of this run is still there")]),
    ("probe/leftovers", [facts("n1", agents=("/run/underlay-preflight.x",))],
     [(WARN, "n1: 1 folder of an earlier pre-flight (/run/underlay-preflight.x)")]),
    ("reach/icmp", [flows(lambda f: f.protocol == "icmp" and f.target == "n1", verdict="timeout")],
     [(WARN, f"ICMP echo into n1 (2 of 2 peers): {DROPPED}")]),
    ("reach/icmp", [flows(lambda f: f.protocol == "icmp", verdict="unknown", detail="run as root")],
     [(UNKNOWN, "ICMP echo from n0, n1, n2: run as root")]),
    ("reach/icmp", [flows(lambda f: f.target == "n1", verdict="timeout")], []),
    ("reach/icmp", [probes(flows=())], [(SKIPPED, "no pair of nodes was probed")]),
    ("reach/ports", [], [(PASS, "12 probes over 6 pairs")]),
    ("reach/ports", [flows(_to("n1", 8472, "n0"), verdict="timeout")],
     [(FAIL, f"8472/udp (flannel vxlan) from n0 to n1: {DROPPED}")]),
    ("reach/ports", [flows(_to("n1", 8472), verdict="reply-lost")],
     [(FAIL, "8472/udp (flannel vxlan) into n1 (2 of 2 peers): it arrived, but the reply was lost"
       " on the way back")]),
    ("reach/ports", [flows(lambda f: f.source == "n1" and f.port == 8472, verdict="prohibited",
                           detail="by its own output filter")],
     [(FAIL, "8472/udp (flannel vxlan) out of n1 (2 of 2 peers): a firewall answers that it is"
       " prohibited (by its own output filter)")]),
    ("reach/ports", [flows(lambda f: f.port == 10250, verdict="refused")],
     [(FAIL, "10250/tcp (kubelet) between all nodes that use it (6 pairs): refused on the way"
       " although it listens there: a firewall rejects it")]),
    ("reach/ports", [flows(lambda f: f.target == "n2" and f.protocol != "icmp", verdict="timeout")],
     [(FAIL, "n2 takes in nothing (4 of 4 probes, 8472/udp (flannel vxlan), 10250/tcp (kubelet)):"
       f" {DROPPED}")]),
    ("reach/ports", [flows(lambda f: "n2" in (f.source, f.target), verdict="timeout")],
     [(FAIL, "n2 is cut off: nothing comes in or goes out (8 of 8 probes, 8472/udp (flannel vxlan),"
       f" 10250/tcp (kubelet)): {DROPPED}")]),
    ("reach/ports", [flows(lambda f: f.port == 8472, verdict="unknown", detail="served")],
     [(UNKNOWN, "8472/udp (flannel vxlan) at n1, n2, n0: a program of the node has it and does not"
       " echo, so silence proves nothing (6 pairs)")]),
    ("reach/full-size", [flows(lambda f: f.target == "n1" and f.size > 64, verdict="timeout")],
     [(FAIL, "8472/udp (flannel vxlan) into n1 (2 of 2 peers): small datagrams pass and full-size"
       f" ones do not: {DROPPED}")]),
    ("reach/full-size", [flows(_to("n1", 8472), verdict="timeout")], []),
    ("reach/full-size", [flows(lambda f: f.size > 64, verdict="timeout"),
                         mtus(dict.fromkeys(PAIRS, 1400))],
     []),
    ("reach/full-size", [probes(flows=(Flow("n0", "n1", "tcp", 179, "open"),))],
     [(SKIPPED, "no overlay over UDP is declared")]),
    ("reach/source-address", [flows(_to("n1", 8472, "n0"), arrived_from="198.51.100.1")],
     [(FAIL, "n0 (192.0.2.10) arrives at n1 as 198.51.100.1")]),
    ("mtu/declared", [network(mtu=9000)],
     [(FAIL, f"n{n}: eth0 has MTU 1500, but network.mtu is 9000") for n in range(3)]),
    ("mtu/declared", [facts("n1", links=(Link("eth0", 9000, True, "02:00:00:00:00:02"),))],
     [(WARN, "node interfaces differ: 1500 on n0, n2; 9000 on n1")]),
    ("mtu/path", [], [(PASS, "6 directions carry 1500")]),
    ("mtu/path", [mtus({("n0", "n1"): 1400, ("n2", "n1"): 1400})],
     [(FAIL, "path MTU 1400 into n1 (2 of 2 peers), but 1500 is expected")]),
    ("mtu/path", [mtus({("n0", "n1"): 0}, "no right to send ICMP; run as root")],
     [(UNKNOWN, "path MTU from n0: no right to send ICMP; run as root (1 pair)")]),
    ("mtu/path", [probes(mtus=())], [(SKIPPED, "no pair of nodes was probed")]),
    ("mtu/overlay", [facts("n1", flannel={"FLANNEL_MTU": "1400"})],
     [(FAIL, "n1: flannel.1 has MTU 1450, but pods get 1400")]),
    ("mtu/overlay", [facts("n1", links=tuple(
        Link(name, size, True, "02:11:00:00:00:01", "vxlan")
        for name, size in (("flannel.1", 1450), ("flannel-v6.1", 1430))
    ))], [(FAIL, "n1: flannel-v6.1 has MTU 1430, but pods get 1450")]),
    ("mtu/overlay", [facts(n, flannel={}) for n in ("n0", "n1", "n2")],
     [(SKIPPED, "flannel runs on no node")]),
    ("address/overlap", [network(service_cidr="10.244.0.0/20")],
     [(FAIL, "pod CIDR 10.244.0.0/16 contains Service CIDR 10.244.0.0/20")]),
    ("address/overlap", [network(remote_cidrs={"site B": "10.0.0.0/8"})],
     [(FAIL, "pod CIDR 10.244.0.0/16 lies inside site B 10.0.0.0/8"),
      (FAIL, "Service CIDR 10.96.0.0/12 lies inside site B 10.0.0.0/8")]),
    ("address/overlap", [network(pod_cidr=None)],
     [(SKIPPED, "fewer than two networks are declared")]),
    ("address/routes", [facts("n1", routes=(Route("10.244.0.0/24", "eth1"),))],
     [(FAIL, "pod CIDR 10.244.0.0/16 contains the route via eth1 to 10.244.0.0/24 on n1")]),
    ("address/routes", [facts("n1", routes=(Route("10.244.2.0/24", "flannel.1", "10.244.2.0"),))],
     []),
    ("address/routes", [network(pod_cidr=None, service_cidr=None)],
     [(SKIPPED, "no pod or Service CIDR")]),
    ("address/node", [network(node_cidr="198.51.100.0/24"), host("n1", address="198.51.100.1"),
                      host("n2", address="198.51.100.1")],
     [(FAIL, "n0: its address 192.0.2.10 is outside the node CIDR 198.51.100.0/24"),
      (FAIL, "n1, n2 share the address 198.51.100.1")]),
    ("address/capacity", [network(pod_cidr="10.244.0.0/23")],
     [(FAIL, "pod CIDR 10.244.0.0/23 holds 2 blocks of /24, there are 3 nodes")]),
    ("address/capacity", [network(max_pods=300)],
     [(FAIL, "a node's block of /24 holds 253 pods, max_pods is 300")]),
    ("address/capacity", [network(cni="calico", pod_cidr="10.244.0.0/24")],
     [(FAIL, "pod CIDR 10.244.0.0/24 holds 256 pods, 3 nodes may run 330")]),
    ("address/capacity", [network(pod_cidr=None)], [(SKIPPED, "no pod CIDR is declared")]),
    ("address/defaults", [network(pod_cidr="172.17.0.0/16"),
                          facts("n1", programs=frozenset({"dockerd"}))],
     [(WARN, "n1: dockerd will give docker0 172.17.0.0/16, which overlaps pod CIDR"
       " 172.17.0.0/16")]),
    ("dns/resolves", [], [(PASS, "3 answers over UDP")]),
    ("dns/resolves", [dns(lambda a: a.way == "udp", "timeout")],
     [(FAIL, "192.0.2.53: no answer for example.test from n0, n1, n2")]),
    ("dns/resolves", [dns(lambda a: a.source == "n1" and a.way == "udp", "failed", "NXDOMAIN")],
     [(FAIL, "192.0.2.53: NXDOMAIN for example.test from n1")]),
    ("dns/resolves", [facts("n1", resolvers=())],
     [(FAIL, "n1: /etc/resolv.conf names no resolver"), (PASS, "3 answers over UDP")]),
    ("dns/tcp", [dns(lambda a: a.way == "tcp", "refused")],
     [(FAIL, "over TCP 192.0.2.53: nothing listens for example.test from n0, n1, n2, while UDP"
       " answers")]),
    ("dns/tcp", [dns(lambda a: True, "timeout")], []),
    ("dns/stub-loop", [facts("n1", resolvers=("127.0.0.53",))],
     [(FAIL, "n1: CoreDNS would get 127.0.0.53 as its upstream, which is itself")]),
    ("dns/stub-loop", [facts("n1", resolvers=("127.0.0.53",), uplink_resolvers=("192.0.2.53",),
                             kubelet=("resolvConf: /run/systemd/resolve/resolv.conf",))], []),
    ("dns/hosts-file", [facts("n1", hosts=(("127.0.0.1", ("localhost",)), ("127.0.1.1", ("n1",)),
                                           ("192.0.2.99", ("n2",))))],
     [(WARN, "n1: /etc/hosts maps its own name 'n1' to 127.0.1.1"),
      (FAIL, "n1: /etc/hosts maps n2 to 192.0.2.99, it is 192.0.2.12")]),
    ("dns/hosts-file", [facts("n1", hosts=(("192.0.2.1", ("gw",)),))],
     [(WARN, "n1: /etc/hosts does not know localhost")]),
    ("kernel/modules", [facts("n1", modules={"br_netfilter": ModuleState.MISSING})],
     [(FAIL, "br_netfilter is missing in kernel 6.1.0-40-amd64 on n1")]),
    ("kernel/modules", [facts("n1", modules={"br_netfilter": ModuleState.BUILT_IN})], []),
    ("kernel/modules", [facts("n1", modules={"br_netfilter": ModuleState.LOADABLE},
                              blacklisted=frozenset({"br_netfilter"}))],
     [(WARN, "br_netfilter is blacklisted on n1")]),
    ("kernel/modules", [facts("n1", modules={"br_netfilter": ModuleState.BLOCKED})],
     [(FAIL, "br_netfilter is blocked by an `install` line in modprobe.d on n1")]),
    ("kernel/modules", [facts("n1", modules={})],
     [(UNKNOWN, "br_netfilter could not be looked up on n1")]),
    ("kernel/modules", [host(n, modules=()) for n in ("n0", "n1", "n2")],
     [(SKIPPED, "no module is needed")]),
    ("kernel/sysctls", [facts("n1", sysctls={"net.ipv4.ip_forward": "0"})],
     [(FAIL, "net.ipv4.ip_forward is 0, declared is 1 on n1")]),
    ("kernel/sysctls", [facts("n1", sysctls={})],
     [(FAIL, "net.ipv4.ip_forward does not exist, declared is 1 on n1")]),
    ("kernel/sysctls", [host("n1", sysctls={"net.ipv4.ip_forward": ">=2"})],
     [(FAIL, "net.ipv4.ip_forward is 1, declared is >=2 on n1")]),
    ("kernel/sysctls",
     [host("n1", sysctls={"net.ipv4.tcp_rmem": ">=4096 65536 16777216"}),
      facts("n1", sysctls={"net.ipv4.tcp_rmem": "4096 131072 33554432"})], []),
    ("kernel/sysctls", [host(n, sysctls={}) for n in ("n0", "n1", "n2")],
     [(SKIPPED, "no kernel setting is declared")]),
    ("kernel/sysctls-boot",
     [facts("n1", ufw_lines=(Line("/etc/ufw/sysctl.conf", "net.ipv4.ip_forward", "0"),))],
     [(FAIL, "at boot /etc/ufw/sysctl.conf sets net.ipv4.ip_forward to 0, declared is 1 on n1")]),
    ("kernel/sysctls-boot", [facts("n1", lines=())],
     [(FAIL, "at boot net.ipv4.ip_forward is set by no file on n1")]),
    ("kernel/floor", [scene(change="iptables->nftables"), facts("n1", release="5.10.0")],
     [(FAIL, "n1: kernel 5.10.0, kube-proxy's nftables mode needs 5.13")]),
    ("kernel/floor", [network(cni="calico"), facts("n1", release="odd")],
     [(UNKNOWN, "n1: the kernel's release cannot be read (got 'odd')")]),
    ("kernel/floor", [], [(SKIPPED, "nothing here needs a newer kernel")]),
    ("kernel/conntrack", [facts("n1", conntrack=(800, 1000))],
     [(WARN, "n1: 800 of 1000 connections tracked (80 %)")]),
    ("kernel/conntrack", [facts("n1", conntrack=(960, 1000))],
     [(FAIL, "n1: 960 of 1000 connections tracked (96 %)")]),
    ("kernel/neighbours", [facts("n1", neighbours={4: Neighbours(112, 10, 0)})],
     [(FAIL, "n1: net.ipv4.neigh.default.gc_thresh3 is 112, nodes and pods may need 113")]),
    ("kernel/neighbours", [facts("n1", neighbours={4: Neighbours(1000, 900, 7)})],
     [(WARN, "n1: 900 of 1000 IPv4 neighbours in use"),
      (WARN, "n1: the table of IPv4 neighbours was full 7 times")]),
    ("kernel/neighbours", [DUAL, facts("n1", neighbours={4: Neighbours(1024, 9, 0)})],
     [(UNKNOWN, "n1: net.ipv6.neigh.default.gc_thresh3 cannot be read")]),
    ("kernel/neighbours", [facts(n, neighbours={}) for n in ("n0", "n1", "n2")],
     [(SKIPPED, "no node tells the size of its neighbour table")]),
    ("kernel/ipv6", [], [(SKIPPED, "no IPv6 pod or Service CIDR is declared")]),
    ("kernel/ipv6", [DUAL], []),
    ("kernel/ipv6", [DUAL, facts("n1", ipv6={}), facts("n2", ipv6={
        "net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.all.forwarding": "0",
        "net.ipv6.conf.eth0.accept_ra": "1"})],
     [(FAIL, "the kernel has no IPv6 on n1"),
      (FAIL, "net.ipv6.conf.all.disable_ipv6 is 1 on n2"),
      (FAIL, "net.ipv6.conf.all.forwarding is 0 on n2"),
      (FAIL, "eth0 has its IPv6 default route from router advertisements, which a node that"
       " forwards ignores: accept_ra is 1, not 2, on n2")]),
    ("address/dual-stack", [DUAL], []),
    ("address/dual-stack", [DUAL, host("n1", second=""), host("n2", second="2001:db8::9")],
     [(FAIL, "n1: no IPv6 address of its own on eth0"),
      (FAIL, "n2: no interface carries its IPv6 address 2001:db8::9")]),
    ("address/dual-stack", [DUAL, network(service_cidr_v6=None, pod_cidr_v6="10.8.0.0/16")],
     [(FAIL, "IPv6 pod CIDR 10.8.0.0/16 is not IPv6"),
      (FAIL, "only one family has a Service CIDR (10.96.0.0/12)")]),
    ("address/capacity", [DUAL, network(pod_cidr_v6="fd00:10:244::/63")],
     [(FAIL, "IPv6 pod CIDR fd00:10:244::/63 holds 2 blocks of /64, there are 3 nodes")]),
    ("address/overlap", [DUAL, network(service_cidr_v6="fd00:10:244:1::/112")],
     [(FAIL, "IPv6 pod CIDR fd00:10:244::/56 contains IPv6 Service CIDR fd00:10:244:1::/112")]),
    ("mtu/path", [DUAL, mtus({(a, b): 1400 for a, b in PAIRS}, family=6)],
     [(PASS, "6 directions carry 1500"),
      (FAIL, "IPv6 path MTU 1400 between all nodes that use it (6 pairs), but 1500 is expected")]),
    ("mtu/path", [mtus({("n0", "n1"): 1400, ("n0", "n2"): 1400})],
     [(FAIL, "path MTU 1400 out of n0 (2 of 2 peers), but 1500 is expected")]),
    ("reach/icmp", [DUAL, flows(lambda f: f.protocol == "icmp6" and f.target == "n1",
                                verdict="timeout")],
     [(WARN, f"ICMPv6 echo into n1 (2 of 2 peers): {DROPPED}")]),
    ("time/synchronised", [host("n1", clock=Clock(0, 0.1, False))],
     [(FAIL, "n1: a time daemon runs, but the clock is not synchronised")]),
    ("time/synchronised", [host("n1", clock=Clock(0, 0.1, False)),
                           facts("n1", programs=frozenset())],
     [(FAIL, "n1: no time daemon runs and the clock is not disciplined")]),
    ("time/synchronised", [host("n1", clock=Clock(0, 0.1, None))],
     [(UNKNOWN, "n1: the kernel does not say whether its clock is disciplined")]),
    ("time/skew", [host("n1", clock=Clock(40.0, 0.2, True))],
     [(FAIL, "n1: its clock is 40.0 s ahead of the others (±0.2 s)")]),
    ("time/skew", [host("n1", clock=Clock(-40.0, 0.2, True))],
     [(FAIL, "n1: its clock is 40.0 s behind the others (±0.2 s)")]),
    ("time/skew", [host("n1", clock=Clock(0.5, 6.0, True))],
     [(UNKNOWN, "n1: its clock was read only to ±6.0 s, the limit is 5 s")]),
    ("time/skew", [host(n, clock=None) for n in ("n1", "n2")],
     [(SKIPPED, "fewer than two clocks were read")]),
    ("host/networkd", [facts("n1", programs=frozenset({"systemd-network"}),
                             networkd=("ManageForeignRoutes=no",))],
     [(WARN, "systemd-networkd on n1 removes routes and rules that others made")]),
    ("host/networkd", [facts("n1", programs=frozenset({"systemd-network"}), networkd=(
        "ManageForeignRoutes=no", "ManageForeignRoutingPolicyRules=no"))], []),
    ("host/network-manager", [facts("n1", programs=frozenset({"NetworkManager"}))],
     [(FAIL, "NetworkManager on n1 takes over flannel, cni0 devices")]),
    ("host/network-manager", [network(cni="none")], [(SKIPPED, "no CNI is declared")]),
    ("host/firewall", [facts("n1", programs=frozenset({"firewalld"})), facts("n2", ufw=True)],
     [(WARN, "firewalld is active on n1 and is left as it is"),
      (WARN, "ufw is active on n2 and is left as it is")]),
    ("cni/one-configuration", [facts("n1", cni=("/etc/cni/net.d/10-flannel.conflist",
                                                "/etc/cni/net.d/10-calico.conflist"))],
     [(FAIL, "n1: 10-calico.conflist, 10-flannel.conflist in /etc/cni/net.d, 10-calico.conflist"
       " wins")]),
    ("cni/backup", [scene(backup=Backup("network-backup"))],
     [(FAIL, "network-backup: no backup of the CNI's configuration")]),
    ("cni/backup", [scene(backup=Backup("b", NOW, ("n0", "n1"), ("x is missing",), 1))],
     [(FAIL, "b: x is missing"), (FAIL, "b: holds nothing of n2")]),
    ("cni/backup", [scene(now=NOW + timedelta(days=31))],
     [(WARN, "network-backup: 31 days old, the limit is 30")]),
    ("cni/backup", [scene(now=NOW - timedelta(days=1))],
     [(WARN, "network-backup: of 24 h after now, so its age is not known; set this computer's"
       " clock, or take a new backup")]),
    # two computers differ by as much
    ("cni/backup", [scene(now=NOW - timedelta(minutes=30))], []),
    ("cni/backup", [facts(n, cni=(), flannel={}) for n in ("n0", "n1", "n2")],
     [(SKIPPED, "no node has a CNI's configuration yet")]),
    ("kube-proxy/one-mode", [facts("n1", proxy_mode="ipvs")],
     [(FAIL, "kube-proxy runs in different modes: iptables on n0, n2; ipvs on n1")]),
    ("kube-proxy/one-mode", [scene(change="ipvs->nftables")],
     [(FAIL, "kube-proxy runs in mode iptables on every node, the change starts from ipvs")]),
    ("kube-proxy/one-mode", [facts(n, proxy_mode="") for n in ("n0", "n1", "n2")],
     [(SKIPPED, "kube-proxy answers on no node")]),
    ("monitoring/present", [scene(cluster=ClusterView("", ("node-exporter",), "Service kube-dns"
                                                      " answers 503"))],
     [(WARN, "not found in the cluster: the Prometheus operator's CRDs, kube-state-metrics"),
      (WARN, "metrics of CoreDNS were not read: Service kube-dns answers 503")]),
    ("monitoring/present", [scene(cluster=ClusterView("no control-plane host gave a way in"))],
     [(UNKNOWN, "the cluster could not be asked: no control-plane host gave a way in")]),
    ("monitoring/present", [network(cni="calico"), facts("n0", felix=True)],
     [(WARN, "not found in the cluster: metrics of Calico's Felix on n1, n2")]),
    ("cni/backup", [scene(backup=Backup("b", NOW, ("n0", "n1", "n2")))],
     [(FAIL, "b: holds no object of the cluster")]),
    ("cni/backup", [scene(backup=Backup("b", NOW, ("n0", "n1", "n2")), cluster=None)], []),
]  # fmt: skip
IDS = [check.id for check in CHECKS]


def _said(check_id: str, changes: Sequence[Change]) -> list[tuple[Status, str]]:
    check = next(check for check in CHECKS if check.id == check_id)
    (result,) = evaluate([check], after(*changes))
    if result.reason:
        return [(SKIPPED, result.reason)]
    return [(finding.status, finding.message) for finding in result.findings]


@pytest.mark.parametrize(
    ("check_id", "changes", "said"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_what_it_says(
    check_id: str, changes: Sequence[Change], said: Sequence[tuple[Status, str]]
) -> None:
    assert _said(check_id, changes) == list(said)


def test_the_healthy_scene_passes_every_check() -> None:
    for result in evaluate(CHECKS, healthy()):
        assert result.status in (PASS, SKIPPED), (result.id, result.findings)


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_every_check_is_documented_and_has_a_case_that_it_does_not_pass(check: Any) -> None:
    assert f"\n## {check.id}\n" in (ROOT / "docs/checks.md").read_text()
    assert check.remedy
    assert check.why
    bad = {status for name, _, said in CASES if name == check.id for status, _ in said}
    assert bad & {FAIL, WARN, UNKNOWN}
    if check.severity is Severity.WARNING:
        assert FAIL not in bad
    elif check.id != "probe/agent":
        assert FAIL in bad
    assert check.scopes <= SCOPES


def test_every_finding_names_a_host_of_its_own_or_all_of_them() -> None:
    checks = {check.id: check for check in CHECKS}
    for name, changes, _ in CASES:
        for found in checks[name].evaluate(after(*changes)):
            if found.status is not PASS and found.hosts:
                named = any(each in found.message for each in found.hosts)
                assert named or "all nodes" in found.message, (name, found.message)


def test_ids_are_unique() -> None:
    assert len(set(IDS)) == len(IDS)


def test_two_sites_are_told_as_two_sites() -> None:
    left, right = ("a1", "a2"), ("b1", "b2", "b3")
    names = (*left, *right)
    items = [
        Item(s, t, "x", "narrow" if (s in left) != (t in left) else "")
        for s in names
        for t in names
        if s != t
    ]
    (cause,) = causes(items)
    assert cause.where == "x between a1, a2 and b1, b2, b3 (12 pairs)"
    one_way = [Item(i.source, i.target, i.label, i.bad if i.source in left else "") for i in items]
    (cause,) = causes(one_way)
    assert cause.where == "x from a1, a2 to b1, b2, b3 (6 pairs)"
