"""Firewalls of others: what the fact makes of their chains, and what is told of an overlay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.test_wireguard_host import HUB, _host

from underlay.facts.firewall import walls
from underlay.operations.wireguard_refusals import notes

#: As a Debian 12 host with a ruleset of its own prints it.
NFT = ["wall inet filter input input", "\t\ttcp dport 22 accept"]
FORWARD = ["wall inet filter forward forward", '\t\tiifname "eth1" accept']
FIREWALLD = [
    "wall inet firewalld filter_INPUT input",
    '\t\tiifname "eth0" jump filter_IN_public',
    "wall inet firewalld filter_FORWARD forward",
    "ports 6443/tcp 10250/tcp",
    "trusted cni0",
]


def _told(lines: list[str], *, iptables: bool = True) -> list[str]:
    return notes(replace(_host(), walls=walls(lines, iptables=iptables)), [HUB])


def test_a_chain_that_would_drop_what_peers_send_is_named_with_the_rule_it_lacks() -> None:
    (told,) = _told(NFT)
    assert told.startswith("firewall: inet filter input drops what it does not name")
    assert told.endswith("cannot call; add there: udp dport 51820 accept")
    (told,) = _told(FORWARD)
    assert "inet filter forward" in told
    assert told.endswith("add there: iifname wg0 oifname wg0 accept")


def test_firewalld_is_told_in_its_own_words() -> None:
    first, second = _told(FIREWALLD)
    assert first.endswith(
        "firewall-cmd --permanent --add-port=51820/udp, then firewall-cmd --reload"
    )
    assert "--zone=trusted --add-interface=wg0" in second


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [*NFT, "\t\tudp dport { 500, 51820 } accept"],
        [*FORWARD, '\t\tiifname { "wg0", "eth1" } accept'],
        [*FIREWALLD[:3], "ports 51820/udp", "trusted wg0"],
        ["wall inet underlay-wireguard-wg0 input input"],
    ],
)
def test_a_firewall_that_lets_it_pass_is_no_news(lines: list[str]) -> None:
    assert _told(lines) == []


def test_the_tables_of_iptables_are_others_only_without_iptables() -> None:
    chain = ["wall ip filter INPUT input"]
    assert _told(chain) == []
    assert len(_told(chain, iptables=False)) == 1


def test_only_what_concerns_an_interface_is_told() -> None:
    spoke = replace(HUB, forwards=False, opens=False)
    host = replace(_host(), walls=walls([*NFT, *FORWARD], iptables=True))
    assert notes(host, [spoke]) == []
    v6 = replace(_host(), walls=walls(["wall ip6 filter in input"], iptables=True))
    assert notes(v6, [HUB]) == []
    assert len(notes(v6, [replace(HUB, opens_v6=True)])) == 1
