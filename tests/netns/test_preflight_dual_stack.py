"""Dual stack between namespaces: addresses, forwarding, ICMPv6 and the IPv6 path MTU by probes.

n0 (control plane) 2001:db8::10   n1 2001:db8::11   n2 2001:db8::12, besides 198.18.0.10 to .12
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.netns.fleet import NETWORK, SETTINGS, Fleet, findings, fleet
from tests.netns.test_preflight import DROPPED, rule

pytestmark = pytest.mark.netns

V6 = {"pod_cidr_v6": "fd00:10:244::/56", "service_cidr_v6": "fd00:10:96::/112"}
BETWEEN = "between all nodes that use it (6 pairs)"


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("dual")) as found:
        found.settings(**{**SETTINGS, "network": {**NETWORK, **V6}})
        for number in range(3):
            for key in ("disable_ipv6=0", "forwarding=1"):
                found.hosts.on(number, "sysctl", "-qw", f"net.ipv6.conf.all.{key}")
            address = f"2001:db8::1{number}/64"
            found.hosts.on(number, "ip", "addr", "add", address, "dev", "eth0", "nodad")
        yield found


@pytest.fixture
def three(dual: Fleet) -> Iterator[Fleet]:
    """The shared hosts, without rules of an earlier scenario."""
    yield dual
    for number in range(3):
        dual.hosts.on(number, "nft", "flush", "ruleset")


def test_both_families_are_measured(three: Fleet) -> None:
    _, report = three.report()
    assert findings(report) == []
    passed = {c["id"]: c["findings"] for c in report["checks"] if c["status"] == "pass"}
    assert {"address/dual-stack", "kernel/ipv6", "reach/icmp"} <= set(passed)
    told = [finding["message"] for finding in passed["mtu/path"]]
    assert told == ["6 directions carry 1500", "6 directions carry 1500 of IPv6"]
    assert "IPv6 path MTU" in [grid["title"] for grid in report["matrices"]]


def test_a_narrow_ipv6_path_beside_a_wide_ipv4_one(three: Fleet) -> None:
    """A tunnel on the way that carries 1400 bytes and answers nothing."""
    for number in range(3):
        rule(three, number, "input", "meta nfproto ipv6 meta length > 1400 drop")
    _, report = three.report()
    text = f"IPv6 path MTU 1400 {BETWEEN}, but 1500 is expected"
    assert findings(report) == [("fail", "mtu/path", text)]


def test_icmpv6_that_is_filtered_is_seen_and_the_size_is_unknown_no_more(three: Fleet) -> None:
    rule(three, 1, "input", "icmpv6 type echo-request drop")
    _, report = three.report()
    assert findings(report) == [
        ("warn", "reach/icmp", f"ICMPv6 echo into n1 (2 of 2 peers): {DROPPED}")
    ]


def test_a_node_without_an_address_and_one_that_does_not_forward(three: Fleet) -> None:
    three.hosts.on(1, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=0")
    three.hosts.on(2, "ip", "addr", "del", "2001:db8::12/64", "dev", "eth0")
    try:
        _, report = three.report("--no-probe")
    finally:
        three.hosts.on(1, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        three.hosts.on(2, "ip", "addr", "add", "2001:db8::12/64", "dev", "eth0", "nodad")
    assert sorted(findings(report)) == [
        ("fail", "address/dual-stack", "n2: no IPv6 address of its own on eth0"),
        ("fail", "kernel/ipv6", "net.ipv6.conf.all.forwarding is 0 on n1"),
    ]


def test_one_stack_of_ipv6_alone(three: Fleet) -> None:
    """The node addresses themselves are IPv6: ports, ICMPv6 and path MTU go by them."""
    rule(three, 1, "input", "meta nfproto ipv6 udp dport 8472 drop")
    three.settings(
        **{**SETTINGS, "network": {**NETWORK, "node_cidr": "2001:db8::/64", "pod_cidr": None,
                                   "service_cidr": None}}
    )  # fmt: skip
    try:
        _, report = three.report()
    finally:
        three.settings(**{**SETTINGS, "network": {**NETWORK, **V6}})
    text = f"8472/udp (flannel vxlan) into n1 (2 of 2 peers): {DROPPED}"
    assert findings(report) == [("fail", "reach/ports", text)]
    passed = {c["id"]: c["findings"] for c in report["checks"] if c["status"] == "pass"}
    assert passed["mtu/path"][0]["message"] == "6 directions carry 1500 of IPv6"
