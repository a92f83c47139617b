"""The port matrix: it follows from the sections of the inventory, and names who calls whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from underlay.checks.model import Status
from underlay.facts.node import Link, Node
from underlay.features import all_sections
from underlay.features.calls import Call
from underlay.features.declared import Declared, declared
from underlay.features.preflight import addresses, agent, assemble
from underlay.features.preflight.checks import CHECKS
from underlay.features.preflight.plan import Plan, Target, plan
from underlay.features.preflight.ports import Use, uses
from underlay.features.preflight.scene import Host, Probes, Scene
from underlay.settings.fleet import RawHost
from underlay.settings.read import read_fleet

GROUPS = {"control_plane": ["a"], "workers": ["b", "c"]}
BARE: dict[str, Any] = {"node_ports": []}


def _declared(*names: str, **sections: Any) -> Declared:
    data = {"preflight": BARE, **sections}
    raw = [RawHost(name, (), data, {}) for name in names or ("a", "b", "c")]
    fleet, problems = read_fleet(raw, all_sections())
    assert not problems, problems
    return declared(fleet)


def _ports(groups: Mapping[str, Any], **settings: Any) -> set[tuple[str, int]]:
    return {(u.protocol, u.port) for u in uses(groups, _declared(network=settings))}


CONTROL = {("tcp", 6443), ("tcp", 2379), ("tcp", 2380), ("tcp", 10250), ("tcp", 10256)}


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({}, set()),
        ({"cni": "flannel"}, {("udp", 8472)}),
        ({"cni": "flannel", "encapsulation": "none"}, set()),
        ({"cni": "flannel", "encapsulation": "udp"}, {("udp", 8285)}),
        ({"cni": "flannel", "encapsulation": "wireguard"}, {("udp", 51820)}),
        ({"cni": "flannel", "encapsulation": "ipsec"}, {("udp", 500), ("udp", 4500), ("esp", 0)}),
        ({"cni": "flannel", "encapsulation": "ipip"}, {("ipip", 0)}),
        ({"cni": "calico"}, {("udp", 4789)}),
        ({"cni": "calico", "encapsulation": "ipip-cross-subnet", "bgp": True},
         {("ipip", 0), ("tcp", 179)}),
        ({"cni": "calico", "encapsulation": "none", "bgp": True, "typha": True},
         {("tcp", 179), ("tcp", 5473)}),
    ],
)  # fmt: skip
def test_the_port_matrix_per_cni(settings: dict[str, Any], more: set[tuple[str, int]]) -> None:
    found = _ports(GROUPS, **settings)
    assert found == CONTROL | more
    assert not {port for _, port in found} & {10249, 10251, 10252, 10255, 10257, 10259}


def test_tunnels_bring_their_own_ports() -> None:
    assert _ports({"hubs": ["a"], "spokes": ["b"]}) == {("udp", 51820)}
    assert _ports({"gateways": ["a", "b"]}) == {("udp", 500), ("udp", 4500), ("esp", 0)}


def test_etcd_of_its_own_group_is_asked_of_that_group() -> None:
    found = uses({**GROUPS, "etcd": ["e"]}, _declared())
    assert {(u.sources, u.targets) for u in found if u.port == 2380} == {("etcd", "etcd")}
    assert ("control_plane", "etcd") in {(u.sources, u.targets) for u in found if u.port == 2379}


def _uses(*names: str, **sections: Any) -> list[Use]:
    return uses({}, _declared(*names, **sections))


def _rows(found: list[Use]) -> set[tuple[str, int, str]]:
    return {(use.protocol, use.port, use.why) for use in found}


@pytest.mark.parametrize(
    ("sections", "rows"),
    [
        ({"network": {"cni": "flannel"}, "flannel": {"port": 4789}},
         {("udp", 4789, "flannel vxlan")}),
        ({"network": {"cni": "flannel", "encapsulation": "wireguard"},
          "flannel": {"wireguard_port": 51900}}, {("udp", 51900, "flannel wireguard")}),
        ({"network": {"cni": "flannel"}, "calico": {"install": "canal"}},
         {("udp", 8472, "flannel vxlan")}),
        ({"network": {"cni": "calico"}, "calico": {"felix": {"vxlanPort": 4790}}},
         {("udp", 4790, "calico vxlan"), ("tcp", 5473, "Calico Typha")}),
        ({"network": {"cni": "calico", "encapsulation": "wireguard"},
          "calico": {"install": "manifest", "felix": {"wireguardListeningPort": 51900}}},
         {("udp", 51900, "calico wireguard")}),
        ({"network": {"cni": "calico"}, "calico": {"install": "manifest", "typha_from": 3}},
         {("udp", 4789, "calico vxlan"), ("tcp", 5473, "Calico Typha")}),
        ({"network": {"cni": "calico", "encapsulation": "ipip", "bgp": True,
                      "pod_cidr": "10.244.0.0/16"},
          "calico": {"install": "manifest",
                     "pools": {"a": {"cidr": "10.244.0.0/17", "encapsulation": "none"},
                               "b": {"cidr": "10.244.128.0/17", "encapsulation": "vxlan"}}}},
         {("udp", 4789, "calico vxlan"), ("tcp", 179, "Calico BGP")}),
    ],
)  # fmt: skip
def test_ports_are_those_that_the_sections_set(
    sections: dict[str, Any], rows: set[tuple[str, int, str]]
) -> None:
    assert _rows(_uses(**sections)) == rows


OVERLAY: dict[str, Any] = {
    "overlay_cidr": "10.8.0.0/24", "port": 51999, "hubs": ["hub"],
    "nodes": {
        "hub": {"address": "10.8.0.1", "endpoint": "203.0.113.7:40000"},
        "a": {"address": "10.8.0.2", "behind_nat": True},
        "b": {"address": "10.8.0.3", "endpoint": "198.51.100.3:51999", "direct": ["a"],
              "reach": {"hub": "192.0.2.1:51999"}},
    },
}  # fmt: skip


def test_an_overlay_is_tried_at_its_endpoints_by_those_that_call() -> None:
    (found,) = _uses("hub", "a", "b", "c", wireguard={"overlays": {"wg0": OVERLAY}})
    assert (found.label, found.why, found.full_size) == ("51999/udp", "WireGuard wg0", True)
    assert set(found.calls) == {
        Call("a", "hub", "203.0.113.7", 40000, translated=True),
        Call("b", "hub", "192.0.2.1", 51999),
        Call("hub", "b", "198.51.100.3", 51999),
        Call("a", "b", "198.51.100.3", 51999, translated=True),
    }
    gone = {"overlays": {"wg0": {**OVERLAY, "state": "absent"}}}
    assert uses({"hubs": ["hub"], "spokes": ["a"]}, _declared(wireguard=gone)) == []


def _link(**more: Any) -> dict[str, Any]:
    ends = {
        "east": {"gateway": "a", "address": "198.51.100.1", "networks": ["10.1.0.0/16"]},
        "west": {"gateway": "b", "address": "203.0.113.1", "networks": ["10.2.0.0/16"], **more},
    }
    return {"links": {"site": {"ends": ends, "psk": {"env": "PSK"}}}}


def test_a_link_is_tried_between_its_gateways_and_esp_where_it_is_not_in_udp() -> None:
    found = _uses("a", "b", "c", ipsec=_link())
    assert [use.label for use in found] == ["500/udp", "4500/udp", "ESP (protocol 50)"]
    assert {(c.source, c.target, c.address) for c in found[2].calls} == {
        ("a", "b", "203.0.113.1"), ("b", "a", "198.51.100.1")
    }  # fmt: skip
    behind = _uses("a", "b", "c", ipsec=_link(behind_nat=True))
    assert [(use.label, use.full_size) for use in behind] == [
        ("500/udp", False), ("4500/udp", True)
    ]  # fmt: skip
    assert behind[0].calls == (Call("b", "a", "198.51.100.1", 0, translated=True),)
    assert _uses("a", ipsec=_link(gateway=None)) == []


def test_bgp_is_between_reflectors_and_nodes_and_not_a_mesh() -> None:
    groups = {"one": {"cluster_id": "244.0.0.1", "reflectors": ["a"]}}
    network = {"cni": "calico", "encapsulation": "none", "bgp": True}
    (bgp,) = _uses(network=network, route_reflectors={"groups": groups})
    assert {(c.source, c.target) for c in bgp.calls} == {
        ("a", "b"), ("a", "c"), ("b", "a"), ("c", "a")
    }  # fmt: skip
    (mesh,) = _uses(network=network, route_reflectors={"groups": groups, "mesh": True})
    assert (mesh.sources, mesh.calls) == ("all", ())


def _plan(count: int, calls: tuple[Call, ...], mesh_up_to: int = 64) -> Plan:
    targets = {f"n{i}": Target(f"n{i}", f"192.0.2.{i + 1}", 1500) for i in range(count)}
    use = Use("udp", 51820, "", "", "WireGuard wg0", True, calls)
    return plan(targets, [use], {}, mesh_up_to=mesh_up_to, sample=1, seed=1)


def test_a_sample_holds_every_call_that_a_section_names() -> None:
    calls = tuple(Call(f"n{i}", "n0") for i in range(1, 40))
    found = _plan(40, calls, mesh_up_to=10)
    assert all((f"n{i}", "n0") in found.pairs for i in range(1, 40))
    assert all(len(list(found.flows(f"n{i}"))) == 1 for i in range(1, 40))
    assert (found.listens("n0"), found.listens("n1")) == ([("udp", 51820)], [])


def test_an_endpoint_that_is_a_name_is_said_to_be_untried_and_is_no_pass() -> None:
    nodes = {**OVERLAY["nodes"], "hub": {"address": "10.8.0.1", "endpoint": "hub.example:40000"}}
    (use,) = _uses("hub", "a", "b", wireguard={"overlays": {"wg0": {**OVERLAY, "nodes": nodes}}})
    targets = {n: Target(n, f"192.0.2.{i + 1}", 1500) for i, n in enumerate(("hub", "a", "b"))}
    made = plan(targets, [use], {}, mesh_up_to=64, sample=3, seed=1)
    assert [peer for _, peer in made.flows("a")] == ["b"]
    heard = {name: assemble.Heard(rows=[]) for name in targets}
    (flow,) = assemble.probes(made, heard, {}).flows
    assert (flow.source, flow.target, flow.verdict) == ("a", "hub", "unknown")
    assert flow.detail == (
        "not tried: its endpoint hub.example is a name, which only the tunnel resolves"
    )


def _facts(**devices: str) -> Node:
    return Node(
        "n", links=tuple(Link(name, 1420 if name == "wg0" else 1500, True, "") for name in devices),
        addresses={name: (text,) for name, text in devices.items()}, default_device="eth0",
    )  # fmt: skip


def _host(name: str, **network: Any) -> Host:
    data = {"network": {"transport": "wg0", **network}, "wireguard": {"overlays": {"wg0": OVERLAY}}}
    raw = [RawHost(each, (), data, {}) for each in ("hub", "a", "b")]
    fleet, problems = read_fleet(raw, all_sections())
    assert not problems, problems
    return assemble.host_of(fleet.hosts[name], "", "192.0.2.9")


def test_the_cni_is_tried_on_the_overlay_and_the_overlay_beneath_it() -> None:
    up = addresses.known(_host("a"), _facts(eth0="192.0.2.9/24", wg0="10.8.0.2/24"))
    assert (up.address, up.beneath, up.waits) == ("10.8.0.2", "192.0.2.9", False)
    declared_over = _host("a", address="10.8.0.2", node_cidr="10.8.0.0/24")
    up = addresses.known(declared_over, _facts(eth0="192.0.2.9/24", wg0="10.8.0.2/24"))
    assert (up.address, up.beneath) == ("10.8.0.2", "192.0.2.9")
    target = addresses.target_of(up, _facts(eth0="192.0.2.9/24", wg0="10.8.0.2/24"))
    assert target is not None
    assert (target.mtu, target.beneath_mtu, target.waits) == (1420, 1500, False)
    down = addresses.known(declared_over, _facts(eth0="192.0.2.9/24"))
    assert (down.address, down.beneath, down.waits) == ("192.0.2.9", "192.0.2.9", True)


def _overlay_plan(*, waits: bool) -> Plan:
    uses_ = _uses("hub", "a", "b", network={"cni": "flannel", "transport": "wg0"},
                  wireguard={"overlays": {"wg0": OVERLAY}})  # fmt: skip
    targets = {
        name: Target(
            name, f"192.0.2.{n}" if waits else f"10.8.0.{n}", 1420, "", f"192.0.2.{n}", 1500,
            frozenset({f"192.0.2.{n}", f"10.8.0.{n}", "198.51.100.3" if name == "b" else ""}),
            waits,
        )
        for n, name in enumerate(("hub", "a", "b"), 1)
    }  # fmt: skip
    return plan(targets, uses_, {}, mesh_up_to=64, sample=3, seed=1)


def test_an_overlay_that_is_not_up_is_tried_and_nothing_on_it() -> None:
    made = _overlay_plan(waits=True)
    assert {(use.why, peer) for use, peer in made.flows("a")} == {
        ("WireGuard wg0", "hub"), ("WireGuard wg0", "b")
    }  # fmt: skip
    assert {("flannel vxlan", "hub"), ("flannel vxlan", "b")} < {
        (use.why, peer) for use, peer in _overlay_plan(waits=False).flows("a")
    }


def test_an_agent_is_told_where_a_tunnel_goes_and_where_to_listen() -> None:
    made = _overlay_plan(waits=False)
    told = agent.message(made, "a", run="00" * 8, wait=1, dns=[])
    assert {use: place[1:] for use, place in told["places"].items()} == {
        "udp/51999/0": ("203.0.113.7", 40000), "udp/51999/2": ("198.51.100.3", 51999)
    }  # fmt: skip
    sizes = {(port, size) for _, port, peer, size in told["flows"] if peer == 0}
    assert {(8472, 1392), (51999, 1472)} < sizes
    assert made.hears("b") == {("udp", 51999): "198.51.100.3"}
    # the NAT's address is on none of its interfaces, the one of `reach` is
    assert made.hears("hub") == {("udp", 51999): "192.0.2.1"}


def test_a_declared_nat_is_no_finding_and_another_is() -> None:
    made = _overlay_plan(waits=False)
    heard = {name: assemble.Heard(rows=[]) for name in made.targets}
    for name, peer in (("a", 0), ("b", 0)):
        heard[name].rows = [agent.Row("flow", "udp", peer, 51999, 64, "open", "", 1)]
        source = list(made.targets).index(name)
        arrived = agent.Arrival("udp", 51999, source, "203.0.113.99", 1, 64)
        heard["hub"].arrivals.append(arrived)
    flows = assemble.probes(made, heard, {}).flows
    assert [(f.source, f.beneath, f.translated) for f in flows] == [
        ("a", True, True), ("b", True, False)
    ]  # fmt: skip
    facts = _facts(eth0="192.0.2.3/24")
    hosts = {n: Host(n, address=f"10.8.0.{i}", facts=facts) for i, n in enumerate("hab", 1)}
    scene = Scene({**hosts, "hub": hosts["h"]}, Probes(flows))
    (check,) = [check for check in CHECKS if check.id == "reach/source-address"]
    assert [found.hosts for found in check.evaluate(scene)] == [("b",)]


def test_a_node_whose_overlay_is_not_up_is_said_not_to_be_wholly_tried() -> None:
    host = addresses.known(_host("a"), _facts(eth0="192.0.2.9/24"))
    scene = Scene({"a": replace(host, facts=_facts(eth0="192.0.2.9/24"))})
    (check,) = [check for check in CHECKS if check.id == "probe/agent"]
    (found,) = check.evaluate(scene)
    assert found.status is Status.UNKNOWN
    assert found.message == (
        "a: only the ports beneath wg0 were tried: no interface carries 10.8.0.2 yet"
    )
