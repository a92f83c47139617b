"""What rendered objects mean on real kernels: who carries a pod's packet, and how much of it.

    w1 ==10.88.1.0/24== hub ==10.88.2.0/24== w2      the hub routes, and is a node too

w1 and the hub are on one L2, w1 and w2 are not. Each has two pods. The agents are a stand-in
(cni_stand_in.py): flannel and Calico themselves do not run.
UNDERLAY_TEST_STAR names a lab of topology star that runs already, else one is made here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.lab import cni_stand_in
from tests.lab.cni_stand_in import Node, Pods
from tests.lab.machines import Machines, own_lab

from underlay.features import all_sections
from underlay.features.address_plan import plan_of, problems
from underlay.features.calico import plan as calico
from underlay.features.calico.settings import Calico
from underlay.features.flannel import plan as flannel
from underlay.features.flannel.settings import Flannel
from underlay.lab import links, ssh
from underlay.settings import RawHost
from underlay.settings.read import read_fleet

pytestmark = pytest.mark.lab

POD_CIDR = "10.244.0.0/16"
ADDRESSES = {"hub": "10.88.1.1/24", "w1": "10.88.1.2/24", "w2": "10.88.2.2/24"}
OUTSIDE = "10.88.2.1"
SERVICE = "10.96.0.99"
#: What both links carry; less than a machine's interface would by itself.
LINK = 1400


@dataclass(frozen=True)
class Case:
    """One backend.

    device: of the tunnel; near, far: what carries a packet to a pod of the same L2, and of another:
    a UDP port, `ipip`, `plain`, or nothing.
    """

    cni: str
    encapsulation: str
    device: str
    near: str
    far: str

    def __str__(self) -> str:
        return f"{self.cni}-{self.encapsulation}"

    def network(self, mtu: int) -> dict[str, Any]:
        """The section `network`."""
        return {
            "cni": self.cni, "encapsulation": self.encapsulation, "mtu": mtu,
            "pod_cidr": POD_CIDR, "bgp": self.encapsulation.startswith("ipip"),
        }  # fmt: skip


CASES = [
    Case("flannel", "vxlan", "flannel.1", "8472", "8472"),
    Case("flannel", "vxlan-cross-subnet", "flannel.1", "plain", "8472"),
    Case("flannel", "none", "", "plain", ""),
    Case("flannel", "ipip", "flannel.ipip", "ipip", "ipip"),
    Case("calico", "vxlan", "vxlan.calico", "4789", "4789"),
    Case("calico", "vxlan-cross-subnet", "vxlan.calico", "plain", "4789"),
    Case("calico", "ipip", "tunl0", "ipip", "ipip"),
    Case("calico", "ipip-cross-subnet", "tunl0", "plain", "ipip"),
]
#: Of each encapsulation one, and of each CNI; the others take minutes.
SAMPLE = (0, 2, 5, 6)
EACH = [
    pytest.param(case, id=str(case), marks=() if number in SAMPLE else pytest.mark.slow)
    for number, case in enumerate(CASES)
]


@dataclass(frozen=True)
class Programmed:
    """What the stand-in made of a case: the planned MTU, pods by node, what a kernel refused."""

    pod_mtu: int
    pods: dict[str, Pods]
    refused: dict[str, str]


class Star(Machines):
    """The star with the hub as a router, and a CNI on top."""

    def prepare(self) -> None:
        """The hub routes; both links carry LINK bytes."""
        self.on("hub", "sysctl -qw net.ipv4.ip_forward=1")
        # without a default route a node does not answer ARP for 169.254.1.1, where Calico's pods
        # send everything
        for name, router in {"w1": "10.88.1.1", "w2": "10.88.2.1", "hub": "10.77.0.1"}.items():
            self.on(name, f"ip route replace default via {router}")
        for link in ("hub-w1", "hub-w2"):
            links.set_link(self.lab, link, mtu=LINK)

    def program(self, case: Case, mtu: int) -> Programmed:
        """Render for a path of `mtu` bytes, give the interfaces that MTU, and be the agents."""
        hosts = [
            RawHost(name, ("all",), {"network": {**case.network(mtu), "address": address[:-3]}}, {})
            for name, address in ADDRESSES.items()
        ]
        fleet, wrong = read_fleet(hosts, all_sections())
        assert [*wrong, *problems(fleet)] == []
        planned = plan_of(fleet)
        assert planned is not None
        nodes = [
            Node(name, number, address, "eth1", mtu)
            for number, (name, address) in enumerate(ADDRESSES.items())
        ]
        found: dict[str, Pods] = {}
        text = f"for name in eth1 eth2; do ip link set $name mtu {mtu} 2>/dev/null; done\n"
        for name in ADDRESSES:
            if case.cni == "flannel":
                rendered = flannel.objects(Flannel(), planned)
                config = next(one for one in rendered if one["kind"] == "ConfigMap")
                found[name], script = cni_stand_in.flannel(config, nodes, name)
            else:
                pool = calico.ip_pool(calico.pools(Calico(), planned.network)[0], calico.SERVED)
                installation = calico.installation(Calico(), planned, "")
                found[name], script = cni_stand_in.calico(installation, pool, nodes, name)
            text += f'if [ "$(hostname)" = {name} ]; then\n{script}\nfi\n'
        answers = ssh.everywhere(self.lab, self.names, text)
        refused = {answer.machine: answer.stderr.strip() for answer in answers}
        return Programmed(planned.pod_mtu, found, refused)

    def reach(self, *probes: str) -> list[bool]:
        """Whether a pod of w1 gets an answer, for each of these words of ping."""
        text = "".join(
            f"ip netns exec pod-a ping -n -c 2 -i 0.3 -W 2 {words} >/dev/null 2>&1"
            " && echo yes || echo no\n"
            for words in probes
        )
        return [word == "yes" for word in self.on("w1", text).split()]


@pytest.fixture(scope="module")
def star() -> Iterator[Star]:
    """A hub and two leaves."""
    for found in own_lab("cni-data-path", Star, "UNDERLAY_TEST_STAR", topology="star"):
        found.prepare()
        yield found


def whole(address: str, mtu: int) -> str:
    """Words of ping for one packet of `mtu` bytes that nobody may cut."""
    return f"-M do -s {mtu - 28} {address}"


def carried(seen: list[str], source: str, target: str) -> set[str]:
    """What carried the packets from one address to another."""
    packets: list[str] = []
    for line in seen:
        # tcpdump puts what is inside VXLAN on a line of its own
        if line.startswith("IP") and packets:
            packets[-1] += f" {line}"
        else:
            packets.append(line)
    inner = re.compile(rf"\bIP {re.escape(source)} > {re.escape(target)}: ICMP echo request")
    found = set()
    for packet in packets:
        if inner.search(packet):
            port = re.search(r" > [\d.]+\.(\d+): (?:OTV|VXLAN)", packet)
            ipip = re.search(r"IP [\d.]+ > [\d.]+: (?:\(ipip-proto-4\) )?IP ", packet)
            found.add(port[1] if port else "ipip" if ipip else "plain")
    return found


def cut(seen: list[str]) -> bool:
    """Whether a later fragment of a UDP packet went by."""
    return any(re.search(r"IP [\d.]+ > [\d.]+: (?:ip-proto-17|udp)", line) for line in seen)


@pytest.mark.parametrize("case", EACH)
def test_pods_reach_each_other_with_the_planned_size_and_nothing_more(
    star: Star, case: Case
) -> None:
    done = star.program(case, LINK)
    said = star.underlay(
        "plan", "inventories/star.py", "--json", "--data",
        f"network={json.dumps(case.network(LINK))}",
    )  # fmt: skip
    mtu = json.loads(said.stdout)["pod_mtu"]
    sizes = star.on(
        "w1",
        f"for name in {case.device}; do cat /sys/class/net/$name/mtu; done;"
        " ip netns exec pod-a cat /sys/class/net/eth0/mtu",
    )
    assert set(map(int, sizes.split())) == {mtu} == {done.pod_mtu}
    near, far = done.pods["hub"].at(2), done.pods["w2"].at(2)
    if not case.far:
        # each node as the gateway of its pods: the kernel takes only one that is on the link
        assert all("Nexthop has invalid gateway" in text for text in done.refused.values())
        assert star.reach(near, far) == [True, False]
    else:
        assert set(done.refused.values()) == {""}
    with star.sniffing("hub-w1") as seen:
        reached = star.reach(whole(near, mtu), whole(far, mtu), OUTSIDE)
    assert reached == [True, bool(case.far), True]
    assert not cut(seen)
    own = done.pods["w1"].at(2)
    assert carried(seen, own, near) == {case.near}
    # without a route of its own a packet takes the default one, to a router that knows no pods
    assert carried(seen, own, far) == {case.far or "plain"}
    assert carried(seen, "10.88.1.2", OUTSIDE) == {"plain"}
    assert not carried(seen, own, OUTSIDE)
    assert star.reach(whole(near, mtu + 1), whole(far, mtu + 1)) == [False, False]


@pytest.mark.parametrize("case", [EACH[0], EACH[4], EACH[6]])
def test_a_plan_for_one_byte_that_is_not_there_loses_or_cuts_packets(
    star: Star, case: Case
) -> None:
    done = star.program(case, LINK + 1)
    pod = done.pods["w2" if case.far else "hub"].at(2)
    full, less = whole(pod, done.pod_mtu), whole(pod, done.pod_mtu - 1)
    assert star.reach(less) == [True]
    with star.sniffing("hub-w1") as seen:
        reached = star.reach(full)
    # VXLAN lets its own packets be cut, and a bridge with br_netfilter does that in place of loss
    assert reached == [False] or (case.near.isdigit() and cut(seen))


def test_a_service_on_its_own_node_needs_br_netfilter(star: Star) -> None:
    done = star.program(CASES[0], LINK)
    pod = done.pods["w1"].at(3)
    rule = f"PREROUTING -d {SERVICE} -p tcp --dport 80 -j DNAT --to-destination {pod}:8080"
    star.on("w1", f"iptables -w -t nat -A {rule}")
    answers = []
    for switch in (1, 0, 1):
        words = star.on(
            "w1",
            f"sysctl -qw net.bridge.bridge-nf-call-iptables={switch}\n"
            "timeout 20 ip netns exec pod-b nc -l 8080 >/dev/null 2>&1 &\nsleep 1\n"
            f"ip netns exec pod-a nc -z -w 4 {SERVICE} 80 && echo yes || echo no\n"
            "kill $! 2>/dev/null; wait",
        )
        answers.append(words)
    star.on("w1", f"iptables -w -t nat -D {rule}")
    assert answers == ["yes", "no", "yes"]
