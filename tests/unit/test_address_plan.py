"""The plan of whole inventories: every combination of the tables, and everything it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from underlay.addressing.chain import FLANNEL_TAKES
from underlay.cli.plan import lines, report
from underlay.features import all_sections
from underlay.features.address_plan import Plan, plan_of, problems
from underlay.settings import Fleet, RawHost
from underlay.settings.read import read_fleet

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = ("cp1", "w1", "w2")
BASE: dict[str, Any] = {"cni": "flannel", "pod_cidr": "10.244.0.0/16", "mtu": 1500}
OVERLAY: dict[str, Any] = {
    "overlay_cidr": "10.200.0.0/24", "hubs": ["cp1"], "accept_single_hub": True,
    "nodes": {
        name: {"address": f"10.200.0.{n}", "endpoint": f"192.0.2.{n}:51820"}
        for n, name in enumerate(NAMES, 1)
    },
}  # fmt: skip


def fleet(network: dict[str, Any], overlay: dict[str, Any] | None = None, **own: Any) -> Fleet:
    """Three hosts with one network section; own: host -> its keys in place of the shared ones."""
    shared = {"wireguard": {"overlays": {"wg0": overlay}}} if overlay else {}
    hosts = [
        RawHost(name, ("all",), {**shared, "network": {**network, **own.get(name, {})}}, {})
        for name in NAMES
    ]
    found, wrong = read_fleet(hosts, all_sections())
    assert wrong == []
    return found


def plan(found: Fleet) -> Plan:
    """The plan of a fleet that has no problem."""
    assert [str(problem) for problem in problems(found)] == []
    answer = plan_of(found)
    assert answer is not None
    return answer


def refused(found: Fleet) -> str:
    """Every problem, as one text."""
    return "\n".join(map(str, problems(found)))


@pytest.mark.parametrize(
    ("cni", "encapsulation", "underlay", "pods", "told"),
    [
        # flannel is told what lies beneath, and takes its overhead off itself
        ("flannel", "vxlan", 1500, 1450, 1500),
        ("flannel", "vxlan-cross-subnet", 1500, 1450, 1500),
        ("flannel", "wireguard", 1500, 1420, 1500),
        ("flannel", "udp", 1500, 1472, None),
        ("flannel", "ipip", 1500, 1480, None),
        ("flannel", "ipsec", 1500, 1423, None),
        ("flannel", "none", 1500, 1500, None),
        ("flannel", "vxlan", 9001, 8951, 9001),
        # Calico is told what pods get
        ("calico", "ipip", 1500, 1480, 1480),
        ("calico", "ipip-cross-subnet", 1460, 1440, 1440),
        ("calico", "vxlan", 1500, 1450, 1450),
        ("calico", "vxlan-cross-subnet", 9001, 8951, 8951),
        ("calico", "wireguard", 1400, 1340, 1340),
        ("calico", "none", 1500, 1500, 1500),
    ],
)
def test_the_tables(
    cni: str, encapsulation: str, underlay: int, pods: int, told: int | None
) -> None:
    words = {**BASE, "cni": cni, "encapsulation": encapsulation, "mtu": underlay}
    found = plan(fleet({**words, "bgp": cni == "calico"}))
    assert found.pod_mtu == pods
    assert (found.value[1] if found.value else None) == told


@pytest.mark.parametrize(
    ("cni", "encapsulation", "pods"),
    [("calico", "vxlan", 1430), ("calico", "wireguard", 1420), ("flannel", "vxlan", 1430)],
)
def test_an_ipv6_underlay_costs_twenty_more(cni: str, encapsulation: str, pods: int) -> None:
    own = {name: {"address": f"2001:db8::{n}"} for n, name in enumerate(NAMES, 1)}
    found = plan(fleet({**BASE, "cni": cni, "encapsulation": encapsulation}, **own))
    assert found.pod_mtu == pods
    if cni == "flannel":
        # it would take 50 off 1500 and send packets of 1520
        assert found.value == ("Backend.MTU", 1430 + FLANNEL_TAKES["vxlan"])


@pytest.mark.parametrize(
    ("cni", "encapsulation", "pods", "told"),
    [
        ("flannel", "vxlan", 1430, 1480),
        ("flannel", "vxlan-cross-subnet", 1430, 1480),
        ("flannel", "wireguard", 1420, 1500),
        ("flannel", "none", 1500, None),
        ("calico", "vxlan", 1430, 1430),
        ("calico", "wireguard", 1420, 1420),
        ("calico", "none", 1500, 1500),
    ],
)
def test_pods_of_both_families_have_room_for_the_larger_header(
    cni: str, encapsulation: str, pods: int, told: int | None
) -> None:
    network = {
        **BASE, "cni": cni, "encapsulation": encapsulation, "pod_cidr_v6": "fd00::/56",
        "bgp": cni == "calico",
    }  # fmt: skip
    found = plan(fleet(network))
    assert found.pod_mtu == pods
    assert (found.value[1] if found.value else None) == told
    # a node block of the controller-manager's, which has a limit of its own
    assert plan(fleet({**network, "pod_cidr_v6": "fd00::/112", "node_prefix_v6": 120}))


@pytest.mark.parametrize(
    ("underlay", "encapsulation", "chain"),
    [
        (1500, "vxlan", "wireguard 1420 (-80) -> vxlan 1370 (-50) -> pods 1370"),
        (1500, "ipip", "wireguard 1420 (-80) -> ipip 1400 (-20) -> pods 1400"),
        (9001, "vxlan", "wireguard 8921 (-80) -> vxlan 8871 (-50) -> pods 8871"),
        (1492, "vxlan", "wireguard 1412 (-80) -> vxlan 1362 (-50) -> pods 1362"),
    ],
)
def test_on_wireguard(underlay: int, encapsulation: str, chain: str) -> None:
    network = {**BASE, "encapsulation": encapsulation, "transport": "wg0", "mtu": underlay}
    found = plan(fleet(network, {**OVERLAY, "underlay_mtu": underlay}))
    assert str(found.nodes[1]) == f"underlay {underlay} -> {chain}"
    assert found.nodes[1].address == "10.200.0.2"


@pytest.mark.parametrize(
    ("cipher", "nat_t", "pods"),
    [("aesgcm16", False, 1396), ("aesgcm16", True, 1388), ("aes-sha256", True, 1372)],
)
def test_on_ipsec(cipher: str, nat_t: bool, pods: int) -> None:
    found = plan(fleet({**BASE, "esp": {"cipher": cipher, "nat_t": nat_t}}))
    assert found.pod_mtu == pods


def test_the_smallest_path_counts_for_everybody() -> None:
    found = plan(fleet({**BASE, "mtu": 9000}, w2={"mtu": 1500}))
    assert [node.hops[-1].mtu for node in found.nodes] == [1450] * 3
    assert str(found.nodes[0]) == "underlay 9000 -> vxlan 8950 (-50) -> pods 1450 (-7500)"
    assert "paths differ (1500, 9000)" in "\n".join(found.advice)


def test_nothing_said_of_the_path_is_told() -> None:
    found = plan(fleet({**BASE, "mtu": None}))
    assert found.pod_mtu == 1450
    assert any("1500 is assumed" in text for text in found.advice)


@pytest.mark.parametrize(
    ("network", "overlay", "own", "sentence"),
    [
        ({"pod_mtu": 1500}, None, {}, "network.pod_mtu: larger than its path leaves (underlay 1500"
         " -> vxlan 1450 (-50)) (got 1500); use at most 1450"),
        ({"mtu": 600}, None, {}, "leaves pods less than 576 (underlay 600 -> vxlan 550 (-50))"),
        ({"mtu": 1300, "pod_cidr_v6": "fd00::/56"}, None, {}, "leaves pods less than 1280"),
        ({"cni": "calico", "encapsulation": "udp"}, None, {}, "network.encapsulation: calico cannot"
         " do it (got 'udp'); use one of none, vxlan"),
        ({"encapsulation": "ipip", "pod_cidr_v6": "fd00::/56"}, None, {}, "IPIP carries IPv4"),
        ({"service_cidr": "10.244.128.0/20"}, None, {}, "service_cidr 10.244.128.0/20"),
        ({"remote_cidrs": {"office": "10.0.0.0/8"}}, None, {}, "office 10.0.0.0/8"),
        ({"pod_cidr": "10.244.0.0/23"}, None, {}, "holds 2 blocks of /24, there are 3 nodes"),
        ({"max_pods": 500}, None, {}, "a node's block of /24 holds 253 pods, max_pods is 500"),
        ({"cni": "calico", "pod_cidr": "10.244.0.0/24"}, None, {}, "holds 256 pods, 3 nodes may"),
        ({"node_cidr": "192.0.2.0/24"}, None, {"w1": {"address": "198.51.100.1"}},
         "w1: network.address: outside node_cidr 192.0.2.0/24 (got '198.51.100.1')"),
        ({}, None, {"w1": {"address": "192.0.2.1"}, "w2": {"address": "192.0.2.1"}},
         "w2: network.address: w1 has it too"),
        ({"transport": "wg1"}, OVERLAY, {}, "not an overlay that cp1 is a member of (got 'wg1');"
         " use one of its overlays (wg0)"),
        ({"transport": "wg0", "mtu": 1400}, OVERLAY, {},
         "its underlay_mtu is larger than what lies beneath (underlay 1400) (got 1500)"),
        ({"transport": "wg0", "encapsulation": "none"}, OVERLAY, {},
         "wg0 drops packets of pods that are not encapsulated"),
        ({"pod_cidr": "10.200.0.0/16"}, OVERLAY, {}, "overlay wg0 10.200.0.0/24"),
        ({"cni": "calico", "encapsulation": "none"}, None, {}, "none needs the routes that BGP"),
        ({"cni": "calico", "encapsulation": "ipip"}, None, {}, "ipip needs the routes that BGP"),
        ({"encapsulation": "none", "node_cidr": "192.0.2.0/24"}, None,
         {"w2": {"node_cidr": "198.51.100.0/24"}},
         "w2: network.node_cidr: host-gw needs one link for all nodes, and cp1 is in 192.0.2.0/24"),
        ({"mtu": 1279}, None, {"w1": {"address": "2001:db8::1"}}, "w1: network.mtu: nodes talk"),
        ({"mtu": 1340, "pod_cidr_v6": "fd00::/56"}, None, {},
         "leaves pods less than 1280 (underlay 1340 -> vxlan 1270 (-70))"),
        ({"pod_cidr_v6": "10.8.0.0/16"}, None, {}, "network.pod_cidr_v6: is not IPv6"),
        ({"service_cidr_v6": "10.8.0.0/16"}, None, {}, "network.service_cidr_v6: is not IPv6"),
        ({}, None, {"w1": {"address_v6": "192.0.2.1"}}, "w1: network.address_v6: is not IPv6"),
        ({"pod_cidr": "fd01::/56", "pod_cidr_v6": "fd00::/56"}, None, {}, "network.pod_cidr: is"),
        ({"pod_cidr_v6": "fd00::/63"}, None, {}, "fd00::/63 holds 2 blocks of /64, there are 3"),
        ({"pod_cidr_v6": "fd00::/47"}, None, {}, "refuses it with blocks of /64 (got 'fd00::/47')"
         "; use /48 or smaller"),
        ({"pod_cidr_v6": "fd00::/112", "node_prefix_v6": 122}, None, {}, "block of /122 holds 61"),
        ({"cni": "calico", "pod_cidr_v6": "fd00::/120"}, None, {}, "holds 256 pods, 3 nodes may"),
        ({"transport": "wg0", "pod_cidr_v6": "fd00::/56"}, OVERLAY, {}, "wg0 has IPv4 addresses"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_work_is_refused(
    network: dict[str, Any], overlay: dict[str, Any] | None, own: dict[str, Any], sentence: str
) -> None:
    assert sentence in refused(fleet({**BASE, **network}, overlay, **own))


def test_every_problem_at_once() -> None:
    text = refused(
        fleet({**BASE, "pod_mtu": 1500, "service_cidr": "10.244.0.0/20", "max_pods": 999})
    )
    assert [part in text for part in ("pod_mtu", "service_cidr", "max_pods")] == [True] * 3


@pytest.mark.parametrize(
    ("network", "overlay"),
    [
        (BASE, None),
        ({**BASE, "encapsulation": "none"}, None),
        ({**BASE, "cni": "none"}, None),
        ({**BASE, "transport": "wg0"}, OVERLAY),
        ({**BASE, "esp": {"cipher": "aesgcm16"}, "pod_cidr_v6": "fd00::/56"}, None),
    ],
)
def test_the_document_is_what_the_schema_says(
    network: dict[str, Any], overlay: dict[str, Any] | None
) -> None:
    schema = json.loads((ROOT / "docs/schemas/plan.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(report(plan(fleet(network, overlay))))


def test_what_a_person_reads() -> None:
    told = lines(plan(fleet({**BASE, "transport": "wg0"}, OVERLAY)))
    assert told[0] == (
        "cp1  10.200.0.1  underlay 1500 -> wireguard 1420 (-80) -> vxlan 1370 (-50) -> pods 1370"
    )
    assert "pods get 1370 everywhere; flannel is told Backend.MTU 1420" in told
