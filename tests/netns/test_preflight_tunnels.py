"""Nodes that know each other by an overlay: the CNI is tried on it, the overlay beneath it.

n0 (control plane, hub)   n1   n2 (spokes; n2 has a shell and socat only)
198.18.0.10, .11, .12 on one bridge; 10.8.0.1, .2, .3 stand for an overlay that is up
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.netns.fleet import NETWORK, SETTINGS, Fleet, findings, fleet
from tests.netns.test_preflight import DROPPED, VXLAN, no_listener, rule
from tests.netns.test_preflight_shell import PING, _without

pytestmark = pytest.mark.netns

WIREGUARD = "51999/udp (WireGuard wg0)"
PORT = 40000


def _overlay() -> dict[str, Any]:
    nodes: dict[str, Any] = {
        f"n{number}": {"address": f"10.8.0.{number + 1}", "behind_nat": number > 0}
        for number in range(3)
    }
    nodes["n0"]["endpoint"] = f"198.18.0.10:{PORT}"
    return {
        "overlay_cidr": "10.8.0.0/24", "port": 51999, "hubs": ["n0"], "nodes": nodes,
        "accept_single_hub": True,
    }  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    hidden = _without("python3", "ping")
    with fleet(tmp_path_factory.mktemp("tunnels"), files={2: hidden}) as found:
        yield found


@pytest.fixture
def three(shared: Fleet) -> Iterator[Fleet]:
    """A port of the hub's that is sent on to the overlay's, and the overlay's addresses."""
    network = {**NETWORK, "transport": "wg0"}
    shared.settings(
        **{**SETTINGS, "network": network, "wireguard": {"overlays": {"wg0": _overlay()}}}
    )
    for number in range(3):
        shared.hosts.on(number, "ip", "addr", "replace", f"10.8.0.{number + 1}/24", "dev", "eth0")
    _forward(shared)
    yield shared
    for number in range(3):
        shared.hosts.on(number, "nft", "flush", "ruleset")


def _forward(found: Fleet) -> None:
    lines = f"type nat hook prerouting priority -100;\nudp dport {PORT} redirect to :51999\n"
    found.hosts.on(0, "nft", f"table ip n {{\nchain c {{\n{lines}}}\n}}\n")


def test_each_port_is_tried_on_the_addresses_that_will_use_it(three: Fleet) -> None:
    # beneath the overlay nobody needs VXLAN
    rule(three, 1, "input", "ip daddr 198.18.0.11 udp dport 8472 drop")
    _, report = three.report()
    assert findings(report) == [("unknown", PING[1], PING[2].replace("n1, n2", "n2"))]
    (wireguard,) = [m for m in report["matrices"] if m["title"] == WIREGUARD.replace("(", "")[:-1]]
    assert {(p["source"], p["target"], p["text"]) for p in wireguard["pairs"]} == {
        ("n1", "n0", "✓"), ("n2", "n0", "✓")
    }  # fmt: skip
    assert all(no_listener(three, number) for number in range(3))


def test_a_closed_endpoint_is_found_from_both_kinds_of_node(three: Fleet) -> None:
    rule(three, 0, "input", "udp dport 51999 drop")
    code, report = three.report()
    assert code == 3
    failed = [row for row in findings(report) if row[0] == "fail"]
    assert failed == [
        ("fail", "reach/ports", f"{WIREGUARD} between all nodes that use it (2 pairs): {DROPPED}")
    ] or failed == [("fail", "reach/ports", f"{WIREGUARD} into n0 (2 of 2 peers): {DROPPED}")]


def test_the_cni_is_tried_on_the_overlay(three: Fleet) -> None:
    rule(three, 1, "input", "ip daddr 10.8.0.2 udp dport 8472 drop")
    _, report = three.report()
    failed = [row for row in findings(report) if row[0] == "fail"]
    assert failed == [("fail", "reach/ports", f"{VXLAN} into n1 (2 of 2 peers): {DROPPED}")]


def test_before_the_overlay_is_up_only_itself_is_tried(three: Fleet) -> None:
    for number in range(3):
        three.hosts.on(number, "ip", "addr", "del", f"10.8.0.{number + 1}/24", "dev", "eth0")
    _, report = three.report()
    assert ("unknown", "probe/agent", "n0, n1, n2: only the ports beneath wg0 were tried: no"
            " interface carries 10.8.0.1, 10.8.0.2, 10.8.0.3 yet") in findings(report)  # fmt: skip
    titles = [matrix["title"] for matrix in report["matrices"]]
    assert WIREGUARD.replace("(", "")[:-1] in titles
    assert not any(title.startswith(("8472", "6443")) for title in titles)
