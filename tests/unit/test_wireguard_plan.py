"""The topology of overlays: for any fleet, every pair has one path, and nothing overlaps."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import combinations, permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.features.wireguard import plan
from underlay.features.wireguard.settings import Node, Overlay

#: As the guide draws it: the master in the middle, pods routed.
GUIDE = Overlay.model_validate(
    {
        "overlay_cidr": "10.200.0.0/24",
        "hubs": ["master"],
        "accept_single_hub": True,
        "nodes": {
            "master": {"address": "10.200.0.100", "endpoint": "203.0.113.1:51820"},
            "a": {
                "address": "10.200.0.1", "endpoint": "203.0.113.2:51820",
                "pod_cidrs": ["10.244.1.0/24"],
            },
            "b": {"address": "10.200.0.2", "behind_nat": True, "pod_cidrs": ["10.244.2.0/24"]},
        },
    }
)  # fmt: skip


@st.composite
def overlays(draw: st.DrawFn) -> Overlay:
    """Valid overlays of 2 to 9 members: several hubs, NAT, direct links, pods routed or not."""
    count = draw(st.integers(2, 9))
    hubs = draw(st.integers(1, min(3, count)))
    names = [f"n{number}" for number in range(count)]
    routed = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    hidden = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    spokes = [name for number, name in enumerate(names) if number >= hubs and not hidden[number]]
    pairs = list(combinations(spokes, 2))
    direct = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    nodes = {
        name: Node(
            address=IPv4Address(f"10.200.0.{number + 1}"),
            endpoint=None if hidden[number] and number >= hubs else f"192.0.2.{number + 1}:51820",
            behind_nat=hidden[number] and number >= hubs,
            pod_cidrs=(IPv4Network(f"10.244.{number}.0/24"),) if routed[number] else "encapsulated",
            direct=tuple(b for a, b in direct if a == name),
        )
        for number, name in enumerate(names)
    }
    return Overlay(
        overlay_cidr=IPv4Network("10.200.0.0/24"), hubs=tuple(names[:hubs]), nodes=nodes,
        accept_single_hub=True,
    )  # fmt: skip


def _addresses(node: Node) -> list[IPv4Address]:
    return [node.address, *(cidr.network_address + 7 for cidr in node.routed)]


@given(overlays())
@settings(max_examples=100, deadline=None)
def test_every_pair_has_a_path_and_the_way_back_is_the_same(overlay: Overlay) -> None:
    for one, other in permutations(overlay.members, 2):
        for source in _addresses(overlay.members[one]):
            for target in _addresses(overlay.members[other]):
                there = plan.path(overlay, source, target)
                assert there, f"{source} cannot reach {target}"
                assert there[0] == one
                assert there[-1] == other
                assert len(there) <= 3
                assert plan.path(overlay, target, source) == there[::-1]


@given(overlays())
@settings(max_examples=100, deadline=None)
def test_no_prefix_belongs_to_two_peers(overlay: Overlay) -> None:
    for host in overlay.members:
        interface = plan.interface("wg0", overlay, host)
        listed = [cidr for peer in interface.peers for cidr in peer.allowed_ips]
        assert len(listed) == len(set(listed))
        for a, b in combinations(map(IPv4Network, listed), 2):
            # only a peer's own address may lie inside the overlay that the first hub carries
            assert not a.overlaps(b) or overlay.overlay_cidr in (a, b)
        own = overlay.members[host].routed
        assert not any(IPv4Network(route) in own for route in interface.routes)


@given(overlays())
@settings(deadline=None)
def test_keepalive_only_from_behind_nat_and_towards_an_endpoint(overlay: Overlay) -> None:
    for host, node in overlay.members.items():
        for peer in plan.interface("wg0", overlay, host).peers:
            assert bool(peer.persistent_keepalive) == (node.behind_nat and bool(peer.endpoint))


def test_the_guide() -> None:
    hub = plan.interface("wg0", GUIDE, "master")
    assert hub.address == "10.200.0.100/24"
    assert hub.mtu == 1420
    assert hub.forwards
    assert [(peer.node, peer.allowed_ips, peer.persistent_keepalive) for peer in hub.peers] == [
        ("a", ("10.200.0.1/32", "10.244.1.0/24"), 0),
        ("b", ("10.200.0.2/32", "10.244.2.0/24"), 0),
    ]
    b = plan.interface("wg0", GUIDE, "b")
    assert b.routes == ("10.244.1.0/24",)
    assert not b.forwards
    assert not b.opens
    assert b.peers[0].allowed_ips == ("10.200.0.0/24", "10.244.1.0/24")
    assert b.peers[0].persistent_keepalive == 25


def test_a_direct_link_takes_its_pair_off_the_hub() -> None:
    nodes = dict(GUIDE.nodes)
    nodes["b"] = nodes["b"].model_copy(update={"direct": ("a",)})
    overlay = GUIDE.model_copy(update={"nodes": nodes})
    assert plan.path(overlay, nodes["b"].address, nodes["a"].address) == ("b", "a")
    assert plan.path(GUIDE, nodes["b"].address, nodes["a"].address) == ("b", "master", "a")


def test_the_first_hub_decides() -> None:
    nodes = dict(GUIDE.nodes)
    nodes["second"] = Node(address=IPv4Address("10.200.0.101"), endpoint="203.0.113.9:51820")
    a, b = nodes["a"].address, nodes["b"].address
    for hubs in (("master", "second"), ("second", "master")):
        overlay = GUIDE.model_copy(update={"nodes": nodes, "hubs": hubs})
        assert plan.path(overlay, a, b) == ("a", hubs[0], "b")
        assert {p.node for p in plan.interface("wg0", overlay, "a").peers} == {"master", "second"}


def test_a_name_costs_what_ipv6_costs() -> None:
    assert plan.most(GUIDE, "a") == 1440
    nodes = dict(GUIDE.nodes)
    nodes["master"] = nodes["master"].model_copy(update={"endpoint": "hub.example.org:51820"})
    overlay = GUIDE.model_copy(update={"nodes": nodes})
    assert plan.most(overlay, "a") == 1420
    assert plan.interface("wg0", overlay, "a").peers[0].named


def test_a_port_is_open_wherever_others_call_it() -> None:
    nodes = dict(GUIDE.nodes)
    nodes["b"] = nodes["b"].model_copy(update={"behind_nat": False})
    nodes["master"] = nodes["master"].model_copy(update={"reach": {"b": "[2001:db8::2]:51820"}})
    overlay = GUIDE.model_copy(update={"nodes": nodes})
    # nothing but the hub's own way to it says that b can be called
    b = plan.interface("wg0", overlay, "b")
    assert b.opens
    assert b.opens_v6
    assert not plan.interface("wg0", overlay, "a").opens_v6
    assert not plan.interface("wg0", GUIDE, "b").opens


def test_a_route_is_written_as_the_kernel_shows_it() -> None:
    nodes = dict(GUIDE.nodes)
    cidrs = (IPv4Network("10.9.9.9/32"), IPv4Network("10.244.2.0/24"))
    nodes["b"] = nodes["b"].model_copy(update={"pod_cidrs": cidrs})
    overlay = GUIDE.model_copy(update={"nodes": nodes})
    assert plan.interface("wg0", overlay, "a").routes == ("10.244.2.0/24", "10.9.9.9")


def test_sizes_and_advice() -> None:
    assert [hop.mtu for hop in plan.sizes(GUIDE, "a")] == [1500, 1420, 1370]
    text = "\n".join(plan.advice("wg0", GUIDE))
    assert "while master is down, spokes reach only those they have a direct link to" in text
    assert "flannel needs --iface=wg0" in text
    assert "MTU of pods to 1370" in text
