"""What another mode left is removed: run with programs that only write down what is asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from underlay.facts.kube_proxy import NodeProxy, VirtualServer
from underlay.operations.leftovers import cleanup, left

NAT = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-NODE-PORT-OTHER - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -m comment --comment "it's \\"ours\\"" -m set --match-set KUBE-CLUSTER-IP dst -j X
-A KUBE-SERVICES -j KUBE-NODE-PORT
-A KUBE-SERVICES -j KUBE-NODE-PORT-OTHER
-A KUBE-SERVICES -d 10.0.0.1/32 -m set --match-set blocked src -j DROP
-A KUBE-LOAD-BALANCER -m set --match-set KUBE-LOOP-BACK dst -j MASQUERADE
COMMIT
"""


class Machine:
    """Programs in a folder of their own, and what they were given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        self.program("ip", "exit 0")
        self.program("ipvsadm", "exit 0")
        self.program("ipset", 'if [ "$1" = list ]; then echo KUBE-CLUSTER-IP; echo blocked; fi')
        for tool in ("iptables", "ip6tables"):
            self.program(f"{tool}-save", "exit 0")
            self.program(f"{tool}-restore", f"cat >> {folder}/{tool}.restored")

    def program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.folder}/asked\n{text}\n')
        path.chmod(0o755)

    def run(self, text: str) -> list[str]:
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return (self.folder / "asked").read_text().splitlines()

    def restored(self, tool: str) -> list[str]:
        path = self.folder / f"{tool}.restored"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which every program succeeds and no rule is there."""
    return Machine(tmp_path)


def test_each_server_is_removed_by_protocol_and_family(machine: Machine) -> None:
    asked = machine.run(
        cleanup(
            "iptables",
            [
                VirtualServer("TCP", "10.96.0.1", 443, "rr"),
                VirtualServer("UDP", "2001:db8::a", 53, "rr"),
                VirtualServer("SCTP", "10.96.0.2", 80, "rr"),
            ],
            [],
        )
    )
    assert [line for line in asked if line.startswith("ipvsadm")] == [
        "ipvsadm -D -t 10.96.0.1:443",
        "ipvsadm -D -u [2001:db8::a]:53",
        "ipvsadm -D --sctp-service 10.96.0.2:80",
    ]


def test_a_server_that_is_gone_already_is_no_error(machine: Machine) -> None:
    machine.program("ipvsadm", "echo 'No such service' >&2; exit 2")
    assert "ip link delete kube-ipvs0" in machine.run(
        cleanup("iptables", [VirtualServer("TCP", "10.96.0.1", 443, "rr")], [])
    )


def test_a_device_that_is_not_there_is_not_deleted(machine: Machine) -> None:
    machine.program("ip", "exit 1")
    assert "ip link delete kube-ipvs0" not in machine.run(cleanup("iptables", [], []))


def test_only_sets_of_kube_proxy_are_destroyed(machine: Machine) -> None:
    asked = machine.run(cleanup("iptables", [], []))
    assert [line for line in asked if "destroy" in line] == ["ipset destroy KUBE-CLUSTER-IP"]


def test_rules_of_the_ipvs_mode_go_in_one_restore_and_others_stay(machine: Machine) -> None:
    (machine.folder / "nat").write_text(NAT)
    machine.program("iptables-save", f'[ "$2" = nat ] && cat {machine.folder}/nat; exit 0')
    asked = machine.run(cleanup("iptables", [], []))
    assert asked.count("iptables-restore --noflush") == 1
    assert machine.restored("iptables") == [
        "*nat",
        ":KUBE-LOAD-BALANCER - [0:0]",
        ":KUBE-NODE-PORT - [0:0]",
        '-D KUBE-SERVICES -m comment --comment "it\'s \\"ours\\"" -m set --match-set'
        " KUBE-CLUSTER-IP dst -j X",
        "-D KUBE-SERVICES -j KUBE-NODE-PORT",
        "-X KUBE-LOAD-BALANCER",
        "-X KUBE-NODE-PORT",
        "COMMIT",
    ]
    assert machine.restored("ip6tables") == []


def test_no_rule_of_ours_means_no_restore(machine: Machine) -> None:
    assert not any("restore" in line for line in machine.run(cleanup("iptables", [], [])))


def test_each_mode_leaves_what_the_others_do_not_use() -> None:
    chains = (
        ("iptables", "nat", "KUBE-SVC-ERIFXISQEP7F7OF4"),
        ("iptables", "nat", "KUBE-SERVICES"),
        ("iptables", "filter", "KUBE-SERVICES"),
        ("iptables", "filter", "KUBE-FIREWALL"),
        ("iptables", "mangle", "KUBE-KUBELET-CANARY"),
        ("ip6tables", "filter", "KUBE-IPVS-FILTER"),
    )
    found = NodeProxy(
        mode="x", servers=(), device=True, addresses=frozenset(), sets=("KUBE-CLUSTER-IP",),
        modules={}, local=frozenset(), entries=(), tables=("ip kube-proxy",), chains=chains,
    )  # fmt: skip
    server = VirtualServer("TCP", "10.96.0.1", 443, "rr")
    ipvs_state = ["virtual server TCP 10.96.0.1:443", "device kube-ipvs0", "set KUBE-CLUSTER-IP"]
    own = ["chain KUBE-IPVS-FILTER in ip6tables filter"]
    table = ["nftables table ip kube-proxy"]
    services = [
        "chain KUBE-SVC-ERIFXISQEP7F7OF4 in iptables nat",
        "chain KUBE-SERVICES in iptables filter",
    ]
    assert left(found, "iptables", [server]) == [*own, *ipvs_state, *table]
    assert left(found, "ipvs", []) == [*services, *table]
    assert left(found, "nftables", [server]) == [
        services[0], "chain KUBE-SERVICES in iptables nat", services[1], *own, *ipvs_state,
    ]  # fmt: skip


def test_the_iptables_mode_goes_chain_by_chain_and_the_kubelets_stay(machine: Machine) -> None:
    saved = """\
*filter
:INPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -j KUBE-SERVICES
-A INPUT -j KUBE-FIREWALL
-A KUBE-SERVICES -d 10.96.0.7/32 -j REJECT
COMMIT
"""
    (machine.folder / "filter").write_text(saved)
    machine.program("iptables-save", f'[ "$2" = filter ] && cat {machine.folder}/filter; exit 0')
    asked = machine.run(cleanup("ipvs", [], ["10.96.0.10"]))
    assert not [line for line in asked if line.startswith("conntrack")]
    assert machine.restored("iptables") == [
        "*filter",
        ":KUBE-SERVICES - [0:0]",
        "-D INPUT -m conntrack --ctstate NEW -j KUBE-SERVICES",
        "-X KUBE-SERVICES",
        "COMMIT",
    ]


def test_connections_of_udp_services_are_forgotten(machine: Machine) -> None:
    machine.program("conntrack", "exit 1")
    machine.program("nft", "exit 1")
    server = VirtualServer("UDP", "10.96.0.10", 53, "rr")
    asked = machine.run(cleanup("iptables", [server], ["10.96.0.10"]))
    assert "conntrack -D -p udp --orig-dst 10.96.0.10" in asked
    assert "nft delete table ip kube-proxy" in asked
    assert (
        "nft delete table ip kube-proxy"
        not in machine.run(cleanup("nftables", [], []))[len(asked) :]
    )
