"""What an inventory is refused for: one case per mistake, and all of them in one message."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from underlay.features import all_sections, overlay_neighbours
from underlay.features.wireguard.rules import RULES as OWN
from underlay.settings import RawHost
from underlay.settings.read import read_fleet

RULES = (*OWN, *overlay_neighbours.RULES)
GOOD: dict[str, Any] = {
    "overlays": {
        "wg0": {
            "overlay_cidr": "10.200.0.0/24",
            "hubs": ["hub"],
            "accept_single_hub": True,
            "nodes": {
                "hub": {"address": "10.200.0.100", "endpoint": "203.0.113.1:51820"},
                "a": {
                    "address": "10.200.0.1", "endpoint": "203.0.113.2:51820",
                    "pod_cidrs": ["10.244.1.0/24"],
                },
                "b": {
                    "address": "10.200.0.2", "behind_nat": True, "pod_cidrs": ["10.244.2.0/24"],
                },
            },
        }
    }
}  # fmt: skip

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def _problems(change: Change | None = None, **beside: Any) -> list[str]:
    """Every problem. beside: other keys of each host."""
    section = copy.deepcopy(GOOD)
    if change is not None:
        change(section, section["overlays"]["wg0"])
    raw = [RawHost(name, (), {"wireguard": section, **beside}, {}) for name in ("hub", "a", "b")]
    fleet, problems = read_fleet(raw, all_sections())
    problems += [problem for rule in RULES for problem in rule(fleet)]
    return list(dict.fromkeys(str(problem).partition(": ")[2] for problem in problems))


def _second(section: dict[str, Any], overlay: dict[str, Any], **changes: Any) -> None:
    other = copy.deepcopy(overlay)
    other["overlay_cidr"] = "10.201.0.0/24"
    for number, node in enumerate(other["nodes"].values(), start=1):
        node["address"] = f"10.201.0.{number}"
        node.pop("pod_cidrs", None)
    section["overlays"]["wg1"] = {**other, "port": 51821, **changes}


def test_a_good_inventory_has_no_problem() -> None:
    assert _problems() == []


CASES: dict[str, tuple[Change, str]] = {
    "overlapping allowed IPs": (
        lambda s, o: o["nodes"]["b"].update(pod_cidrs=["10.244.0.0/16"]),
        "nodes.b.pod_cidrs: allowed IPs overlap (got '10.244.0.0/16'); a has 10.244.1.0/24",
    ),
    "one address twice": (
        lambda s, o: o["nodes"]["b"].update(address="10.200.0.1"),
        "nodes.b.address: two nodes with one overlay address (got '10.200.0.1'); a has it too",
    ),
    "address outside": (
        lambda s, o: o["nodes"]["b"].update(address="10.201.0.1"),
        "nodes.b.address: not a host address of 10.200.0.0/24",
    ),
    "broadcast": (
        lambda s, o: o["nodes"]["b"].update(address="10.200.0.255"),
        "not a host address",
    ),
    "endpoint without port": (
        lambda s, o: o["nodes"]["a"].update(endpoint="203.0.113.2"),
        "nodes.a.endpoint: no port in '203.0.113.2' (got '203.0.113.2'); write it as host:port",
    ),
    "port that does not exist": (
        lambda s, o: o["nodes"]["a"].update(endpoint="203.0.113.2:70000"),
        "port 70000 does not exist",
    ),
    "no hub": (lambda s, o: o.update(hubs=[]), "hubs: spokes without any hub"),
    "unknown hub": (lambda s, o: o.update(hubs=["hbu"]), "a hub that is not in nodes (got 'hbu')"),
    "hub twice": (lambda s, o: o.update(hubs=["hub", "hub"]), "a hub is named twice"),
    "single hub unsaid": (
        lambda s, o: o.pop("accept_single_hub"),
        "one hub alone carries everything between spokes",
    ),
    "stranger": (
        lambda s, o: o["nodes"].update(w9={"address": "10.200.0.9", "behind_nat": True}),
        "nodes.w9: no host of that name in the inventory",
    ),
    "two names for one file": (
        lambda s, o: o["nodes"].update(
            {
                "n.1": {"address": "10.200.0.8", "behind_nat": True},
                "n_1": {"address": "10.200.0.9", "behind_nat": True},
            }
        ),
        "nodes.n_1: its keys would be in the files of n.1",
    ),
    "direct link to nobody": (
        lambda s, o: o["nodes"]["a"].update(direct=["c"]),
        "nodes.a.direct: not another member (got 'c')",
    ),
    "both behind NAT": (
        lambda s, o: (
            o["nodes"]["a"].pop("endpoint"),
            o["nodes"]["a"].update(behind_nat=True, direct=["b"]),
        ),
        "behind NAT, and b has no endpoint it could call",
    ),
    "hub without endpoint": (
        lambda s, o: o["nodes"]["hub"].pop("endpoint"),
        "nodes.b: behind NAT, and hub has no endpoint it could call",
    ),
    "nobody keeps the way open": (
        lambda s, o: o["nodes"]["a"].pop("endpoint"),
        "nodes.a: no endpoint and not behind NAT",
    ),
    "endpoint in the tunnel": (
        lambda s, o: o["nodes"]["a"].update(endpoint="10.200.0.1:51820"),
        "nodes.a.endpoint: lies in 10.200.0.0/24, behind the tunnel",
    ),
    "MTU too large": (
        lambda s, o: o.update(mtu=1500),
        "mtu: hub's underlay of 1500 leaves 1440 (got 1500); use at most 1440",
    ),
    "MTU over a small underlay": (
        lambda s, o: (o.update(mtu=1420), o["nodes"]["b"].update(underlay_mtu=1400)),
        "mtu: b's underlay of 1400 leaves 1340 (got 1420)",
    ),
    "MTU too small for pods": (
        lambda s, o: o.update(underlay_mtu=600),
        "mtu: leaves pods 470, below 576",
    ),
    "pods larger than the chain": (
        lambda s, o: o.update(pod_mtu=1450),
        "underlay 1500 -> wireguard 1420 (-80) -> vxlan 1370 (-50)) (got 1450); use 1370",
    ),
    "capacity": (lambda s, o: o.update(hub_capacity=1), "hub_capacity: 2 peers at each hub"),
    "known network": (
        lambda s, o: s.update(known_cidrs={"services": "10.200.0.0/16"}),
        "10.200.0.0/24 overlaps known_cidrs.services (10.200.0.0/16)",
    ),
    "long name": (
        lambda s, o: s["overlays"].update({"a-name-too-long0": o}),
        "not an interface name: 'a-name-too-long0'",
    ),
    "another's name": (
        lambda s, o: s["overlays"].update({"flannel-wg": o}),
        "'flannel-wg' belongs to flannel",
    ),
    "one port for two overlays": (
        lambda s, o: _second(s, o, port=51820),
        "wg1.port: wg0 listens there too (got 51820)",
    ),
    "overlays that overlap": (
        lambda s, o: _second(s, o, overlay_cidr="10.200.0.0/16"),
        "10.200.0.0/16 overlaps 10.200.0.0/24 of wg0",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_named(case: str) -> None:
    change, said = CASES[case]
    found = _problems(change)
    assert any(said in problem for problem in found), found
    assert all("; " in problem for problem in found), "each says what to do"


LINK = {
    "ends": {
        "here": {"gateway": "hub", "address": "203.0.113.1", "networks": ["10.200.0.0/16"]},
        "there": {"address": "198.51.100.9", "networks": ["10.9.0.0/16"], "nodes": []},
    },
    "psk": {"env": "PSK"},
}  # fmt: skip
PODS = {"cni": "calico", "pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/12"}


def _link(**far: Any) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(LINK)
    found["ends"]["there"].update(far)
    return {"links": {"aws": found}}


#: Other sections of the same hosts, and what is said of them.
BESIDE: dict[str, tuple[dict[str, Any], str]] = {
    "pods": (
        {"network": {**PODS, "pod_cidr": "10.200.0.0/20"}},
        "wg0: 10.200.0.0/24 overlaps network.pod_cidr (10.200.0.0/20)",
    ),
    "Services, of the overlay": (
        {"network": {**PODS, "service_cidr": "10.200.0.0/16"}},
        "wg0: 10.200.0.0/24 overlaps network.service_cidr (10.200.0.0/16)",
    ),
    "Services, of routed pods": (
        {"network": {"service_cidr": "10.244.0.0/20"}},
        "wg0: 10.244.1.0/24 overlaps network.service_cidr (10.244.0.0/20)",
    ),
    "NodeLocal DNSCache": (
        {"network": {"node_local_dns": "10.200.0.10"}},
        "overlaps network.node_local_dns (10.200.0.10/32)",
    ),
    "nodes": (
        {"network": {"node_cidr": "10.200.0.0/16"}},
        "overlaps network.node_cidr (10.200.0.0/16)",
    ),
    "a node's own address": (
        {"network": {"address": "10.200.0.77"}},
        "overlaps network.address (10.200.0.77/32)",
    ),
    "another site": (
        {"network": {"remote_cidrs": {"cloud": "10.200.0.128/25"}}},
        "overlaps network.remote_cidrs.cloud (10.200.0.128/25)",
    ),
    "a pool of Calico": (
        {"calico": {"pools": {"blue": {"cidr": "10.200.0.0/26"}}}},
        "overlaps calico.pools.blue (10.200.0.0/26)",
    ),
    "an IPsec link": (
        {"ipsec": _link(networks=["10.200.0.0/25"])},
        "hub: wireguard.overlays.wg0: 10.200.0.0/24 overlaps ipsec.links.aws.ends.there"
        " (10.200.0.0/25)",
    ),
    "SSH": (
        {"ssh_hostname": "10.200.0.5"},
        "takes in the address that SSH reaches the host at (got '10.200.0.5')",
    ),
    "the port of Calico": (
        {"network": {**PODS, "encapsulation": "wireguard"}},
        "wg0.port: calico (wireguard) listens there too (got 51820)",
    ),
}


@pytest.mark.parametrize("case", BESIDE)
def test_what_other_sections_have_is_not_taken(case: str) -> None:
    beside, said = BESIDE[case]
    found = _problems(None, **beside)
    whole = found if not said.startswith("hub:") else [f"hub: {problem}" for problem in found]
    assert any(said in problem for problem in whole), found
    assert all("; " in problem for problem in found), "each says what to do"


def test_the_port_of_ipsec_is_not_taken() -> None:
    found = _problems(lambda s, o: o.update(port=4500), ipsec=_link())
    assert found == [
        "wireguard.overlays.wg0.port: IPsec listens there too (got 4500); give the overlay a port"
        " of its own"
    ]


def test_what_may_lie_beside_an_overlay_does() -> None:
    """Pods behind members, a link that carries the overlay, SSH and the CNI on the overlay."""
    on_it = {**PODS, "transport": "wg0", "node_cidr": "10.200.0.0/24"}
    assert _problems(None, network=on_it, ipsec=_link(), ssh_hostname="192.0.2.4") == []
    section = copy.deepcopy(GOOD)
    raw = [
        RawHost(name, (), {"wireguard": section, "ssh_hostname": node["address"]}, {})
        for name, node in section["overlays"]["wg0"]["nodes"].items()
    ]
    fleet, _ = read_fleet(raw, all_sections())
    assert [problem for rule in RULES for problem in rule(fleet)] == []


def test_every_mistake_is_listed_at_once() -> None:
    def change(section: dict[str, Any], overlay: dict[str, Any]) -> None:
        overlay["nodes"]["b"].update(address="10.200.0.1", pod_cidrs=["10.244.1.0/25"])
        overlay.update(mtu=1500, hub_capacity=1)

    text = "\n".join(_problems(change))
    for word in ("one overlay address", "allowed IPs overlap", "mtu:", "hub_capacity"):
        assert word in text


def test_two_overlays_on_one_host_are_fine() -> None:
    assert _problems(_second) == []


def test_hosts_must_be_told_the_same() -> None:
    other = copy.deepcopy(GOOD)
    other["overlays"]["wg0"]["port"] = 4500
    raw = [
        RawHost("hub", (), {"wireguard": GOOD}, {}),
        RawHost("a", (), {"wireguard": other}, {}),
        RawHost("b", (), {}, {}),
    ]
    fleet, _ = read_fleet(raw, all_sections())
    text = "\n".join(str(problem) for rule in RULES for problem in rule(fleet))
    assert "a: wireguard.overlays.wg0: differs from what hub has" in text
    assert "b: wireguard.overlays: lacks wg0, which hub has" in text


def test_a_mistake_elsewhere_makes_no_stranger_of_a_member() -> None:
    raw = [
        RawHost("hub", (), {"wireguard": GOOD}, {}),
        RawHost("a", (), {"wireguard": GOOD, "sysctl": {"profile": []}}, {}),
        RawHost("b", (), {"wireguard": GOOD}, {}),
    ]
    fleet, found = read_fleet(raw, all_sections())
    assert [problem.path for problem in found] == ["sysctl.profile"]
    assert [str(problem) for rule in RULES for problem in rule(fleet)] == []


def test_an_absent_overlay_needs_nothing() -> None:
    def change(section: dict[str, Any], overlay: dict[str, Any]) -> None:
        overlay.update(state="absent", hubs=[], nodes={})

    assert _problems(change) == []
