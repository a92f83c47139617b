"""What each host of a link needs, for every link that the rules let pass."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underlay.addressing.mtu import CIPHERS, esp
from underlay.features.ipsec import plan, proposals
from underlay.features.ipsec.settings import IPsec, Link
from underlay.operations.ipsec_plan import texts
from underlay.operations.ipsec_rules import HOOKS, rules

BASE: dict[str, Any] = {
    "ends": {
        "a": {
            "gateway": "a-gw", "address": "192.0.2.1", "nodes": ["a1", "a2"],
            "networks": ["10.10.0.0/24", "10.244.0.0/16"], "inside": "10.10.0.1",
        },
        "b": {"gateway": "b-gw", "address": "192.0.2.2", "networks": ["10.20.0.0/24"]},
    },
    "psk": {"env": "KEY"},
}  # fmt: skip


def _link(**changes: Any) -> Link:
    return Link.model_validate({**BASE, **changes})


def test_both_gateways_see_one_link_from_their_own_side() -> None:
    one, other = (plan.tunnel("a-b", _link(), host) for host in ("a-gw", "b-gw"))
    assert (one.local, one.peer) == (other.peer, other.local) == ("192.0.2.1", "192.0.2.2")
    assert one.children[0].local == other.children[0].remote == ("10.10.0.0/24", "10.244.0.0/16")
    assert (one.first, other.first) == (True, False)
    assert one.provers == other.provers == ("a-gw", "b-gw")
    assert one.mtu == other.mtu == 1438


def test_nodes_route_and_gateways_do_not() -> None:
    node = plan.tunnel("a-b", _link(), "a2")
    assert (node.gateway, node.via, node.routes) == (False, "10.10.0.1", ("10.20.0.0/24",))
    assert rules(node) == {
        "NAT": (
            # what kube-proxy has to masquerade is not ours to keep
            "-m mark --mark 0x4000/0x4000 -j RETURN",
            "-s 10.10.0.0/24 -d 10.20.0.0/24 -j ACCEPT",
            "-s 10.244.0.0/16 -d 10.20.0.0/24 -j ACCEPT",
        )
    }
    assert plan.tunnel("a-b", _link(), "a-gw").routes == ()


def test_route_mode_has_an_interface_with_a_steady_id() -> None:
    one = plan.tunnel("a-b", _link(mode="route"), "a-gw")
    assert (one.device, one.routes) == ("xf-a-b", ("10.20.0.0/24",))
    assert one.if_id == plan.tunnel("a-b", _link(mode="route"), "b-gw").if_id > 0
    text = texts(one)["/etc/swanctl/conf.d/underlay-a-b.conf"][0]
    assert f"if_id_in = {one.if_id}\n" in text
    assert "-o xf-a-b -j RETURN" in " ".join(rules(one)["LK"])


def test_the_side_behind_nat_calls_and_the_other_waits() -> None:
    ends = {**BASE["ends"], "a": {**BASE["ends"]["a"], "behind_nat": True}}
    near, far = (plan.tunnel("a-b", _link(ends=ends), host) for host in ("a-gw", "b-gw"))
    assert (near.local, near.first, far.peer, far.first) == ("%any", True, "%any", False)
    # UDP costs eight bytes, and blocks of sixteen make them sixteen
    assert near.mtu == 1422
    assert "start_action = none" in texts(far)["/etc/swanctl/conf.d/underlay-a-b.conf"][0]


def test_the_side_that_can_call_begins() -> None:
    ends = {**BASE["ends"], "b": {**BASE["ends"]["b"], "behind_nat": True}}
    assert plan.begins(_link(ends=ends)) == "b"


def test_several_children_and_bypassed_networks_are_written() -> None:
    link = _link(
        children={
            "nodes": {"a": ["10.10.0.0/24"], "b": ["10.20.0.0/25"]},
            "pods": {"a": ["10.244.0.0/16"], "b": ["10.20.0.128/25"]},
        },
        bypass=["10.20.0.200/32"],
    )
    wanted = plan.tunnel("a-b", link, "b-gw")
    text = texts(wanted)["/etc/swanctl/conf.d/underlay-a-b.conf"][0]
    assert text.count("local_ts = ") == 3
    assert "remote_ts = 10.20.0.200/32\n        mode = pass" in text
    assert rules(wanted)["NAT"][1] == "-d 10.20.0.200/32 -j RETURN"
    assert wanted.remote == ("10.10.0.0/24", "10.244.0.0/16")


def test_no_text_without_secret_files_holds_a_secret() -> None:
    for host in ("a-gw", "a1"):
        for text, mode in texts(plan.tunnel("a-b", _link(), host)).values():
            assert "secret" not in text
            assert mode == "0600"


def test_names_fit_into_chains() -> None:
    longest = "a" * 16
    assert all(len(f"IPSEC-{kind}-{longest}") <= 28 for kind in HOOKS)


def test_rows_say_sizes() -> None:
    (row,) = plan.rows(IPsec(links={"a-b": _link(esp_proposals=["aes256gcm16-ecp384"])}))
    assert (row.ends, row.mtu, row.mss) == ("a-gw - b-gw", 1446, 1406)


ENCRYPTIONS = ("aes128", "aes192", "aes256")
SEALED = ("aes128gcm16", "aes256gcm16", "chacha20poly1305")
INTEGRITIES = ("sha256", "sha384", "sha512", "sha2_256")
EXCHANGES = ("", "-modp2048", "-ecp256", "-curve25519", "-x25519")
CHILD_PROPOSALS = [
    *(f"{a}-{b}{c}" for a, b, c in product(ENCRYPTIONS, INTEGRITIES, EXCHANGES)),
    *(f"{a}{c}" for a, c in product(SEALED, EXCHANGES)),
]


@given(st.lists(st.sampled_from(CHILD_PROPOSALS), min_size=1), st.integers(700, 9001))
def test_every_cipher_that_may_be_chosen_fits(chosen: list[str], underlay: int) -> None:
    for proposal in chosen:
        assert not list(proposals.problems(proposal, esp=True, allow_weak=False))
    ends = {name: {**end, "underlay_mtu": underlay} for name, end in BASE["ends"].items()}
    size = plan.mtu(_link(esp_proposals=chosen, ends=ends))
    costs = [esp(underlay, cipher) for cipher in proposals.ciphers(chosen)]
    assert size == min(costs)
    assert len(costs) == len(chosen)


@pytest.mark.parametrize(
    ("proposal", "cipher"),
    [("aes256-sha256", "aes-sha256"), ("aes128gcm16-ecp256", "aesgcm16"),
     ("chacha20poly1305", "chacha20poly1305"), ("aes256-sha2_512-modp2048", "aes-sha512")],
)  # fmt: skip
def test_a_proposal_costs_what_its_cipher_does(proposal: str, cipher: str) -> None:
    assert proposals.ciphers([proposal]) == (CIPHERS[cipher],)


def test_the_daemon_must_do_key_exchange_and_what_goes_with_it() -> None:
    assert proposals.needed(["aes256-sha2_256-modp2048"], ["aes256-sha256"]) == {
        "AES_CBC", "HMAC_SHA2_256_128", "PRF_HMAC_SHA2_256", "MODP_2048",
    }  # fmt: skip
    assert "CURVE_25519" in proposals.needed(proposals.IKE_DEFAULT, ["aes256gcm16-x25519"])


networks = st.builds(
    lambda a, b, size: IPv4Network((f"10.{a}.{b}.0", size), strict=False),
    st.integers(0, 255), st.integers(0, 255), st.integers(16, 24),
)  # fmt: skip


@given(st.lists(networks, min_size=1, max_size=4), st.lists(networks, min_size=1, max_size=4))
def test_rules_take_every_pair_and_mirror_each_other(
    own: list[IPv4Network], far: list[IPv4Network]
) -> None:
    ends = {
        "a": {"gateway": "a-gw", "address": "192.0.2.1", "networks": own},
        "b": {"gateway": "b-gw", "address": "192.0.2.2", "networks": far},
    }
    one, other = (plan.tunnel("x", _link(ends=ends), host) for host in ("a-gw", "b-gw"))
    assert set(one.pairs) == {(str(x), str(y)) for x in own for y in far}
    assert {(y, x) for x, y in other.pairs} == set(one.pairs)
    for x, y in one.pairs:
        assert f"-s {x} -d {y} -j DROP" in rules(one)["LK"], "nothing leaves in clear"
        assert ip_network(x), y
