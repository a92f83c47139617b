"""What an inventory is refused for: one case per mistake, and all of them in one message."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from underlay.features.ipsec.rules import RULES
from underlay.features.ipsec.settings import IPsec
from underlay.settings import RawHost
from underlay.settings.network import Network
from underlay.settings.read import read_fleet

GOOD: dict[str, Any] = {
    "links": {
        "a-b": {
            "ends": {
                "a": {
                    "gateway": "a-gw", "address": "192.0.2.1", "networks": ["10.10.0.0/24"],
                    "nodes": ["a1"], "inside": "10.10.0.1",
                },
                "b": {
                    "gateway": "b-gw", "address": "192.0.2.2", "networks": ["10.20.0.0/24"],
                },
            },
            "psk": {"env": "KEY"},
        }
    }
}  # fmt: skip

#: What somebody may write into an inventory where its place is asked for.
LITERAL = "correct-horse-battery"
FAR = {"address": "198.51.100.9", "networks": ["10.30.0.0/24"]}
Change = Callable[[dict[str, Any], dict[str, Any]], object]
HOSTS = ("a-gw", "a1", "b-gw", "a-gw2", "b-gw2")


def _problems(change: Change | None = None, network: dict[str, str] | None = None) -> list[str]:
    section = copy.deepcopy(GOOD)
    if change is not None:
        change(section, section["links"]["a-b"])
    data: dict[str, object] = {"ipsec": section, "network": network or {}}
    raw = [RawHost(name, (), data, {}) for name in HOSTS]
    fleet, problems = read_fleet(raw, [IPsec, Network])
    problems += [problem for rule in RULES for problem in rule(fleet)]
    return list(dict.fromkeys(str(problem).partition(": ")[2] for problem in problems))


def _far(link: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same link to somebody else."""
    other = copy.deepcopy(link)
    other["ends"]["b"] = {**FAR, **changes}
    return other


def _twin(link: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Another link between the same gateways, for other networks."""
    other = copy.deepcopy(link)
    other["ends"]["a"]["networks"] = ["10.11.0.0/24"]
    other["ends"]["b"].update(networks=["10.21.0.0/24"], **changes)
    return other


def test_a_good_inventory_has_no_problem() -> None:
    assert _problems() == []
    assert _problems(lambda s, k: s["links"].update({"a-c": _far(k)})) == []


CASES: dict[str, tuple[Change, str]] = {
    "one end": (lambda s, k: k["ends"].pop("b"), "a link has two ends"),
    "nobody of ours": (
        lambda s, k: k.update(ends={"a": FAR, "b": {**FAR, "address": "203.0.113.1"}}),
        "neither end is a host of ours",
    ),
    "unknown gateway": (
        lambda s, k: k["ends"]["b"].update(gateway="b-gv"),
        "ends.b.gateway: no host of that name in the inventory (got 'b-gv')",
    ),
    "unknown node": (lambda s, k: k["ends"]["a"].update(nodes=["a9"]), "ends.a.nodes: no host"),
    "one host at both ends": (
        lambda s, k: k["ends"]["b"].update(gateway="a-gw"), "one host at both ends",
    ),
    "node without way": (
        lambda s, k: k["ends"]["a"].pop("inside"), "ends.a.inside: nodes have no address",
    ),
    "no secret": (lambda s, k: k.pop("psk"), "psk: neither psk nor certificates"),
    "two secrets": (
        lambda s, k: k.update(psk={"env": "A", "file": "b"}), "exactly one of file, env",
    ),
    "the secret itself": (
        lambda s, k: k.update(psk=LITERAL), "psk: a secret does not belong into the inventory",
    ),
    "command of one word": (
        lambda s, k: k.update(psk={"command": LITERAL}), "psk.command: runs without a shell",
    ),
    "empty command": (lambda s, k: k.update(psk={"command": []}), "is empty"),
    "psk and certificates": (lambda s, k: k.update(ca="ca.pem"), "psk: beside certificates"),
    "certificate without key": (
        lambda s, k: (k.pop("psk"), k.update(ca="ca.pem")),
        "ends.a.certificate: a gateway without certificate and key",
    ),
    "overlap": (
        lambda s, k: k["ends"]["b"].update(networks=["10.0.0.0/8"]),
        "ends.b.networks: overlaps 10.10.0.0/24 of a (got '10.0.0.0/8')",
    ),
    "everything": (
        lambda s, k: k["ends"]["b"].update(networks=["0.0.0.0/0"]),
        "takes in a's own outer address 192.0.2.1",
    ),
    "no network": (lambda s, k: k["ends"]["b"].update(networks=[]), "ends.b.networks: no network"),
    "host bits": (
        lambda s, k: k["ends"]["b"].update(networks=["10.20.0.1/24"]),
        "networks.0: input is not a valid IPv4 network",
    ),
    "child of one end": (
        lambda s, k: k.update(children={"pods": {"a": ["10.10.0.0/24"]}}),
        "children.pods: must name the two ends",
    ),
    "child elsewhere": (
        lambda s, k: k.update(children={"pods": {"a": ["10.11.0.0/24"], "b": ["10.20.0.0/24"]}}),
        "children.pods.a: not behind that end (got '10.11.0.0/24')",
    ),
    "one pair in two children": (
        lambda s, k: k.update(
            children={name: {"a": ["10.10.0.0/24"], "b": ["10.20.0.0/24"]} for name in "xy"}
        ),
        "children.y: carries a pair of networks that x carries",
    ),
    "both behind NAT": (
        lambda s, k: [end.update(behind_nat=True) for end in k["ends"].values()],
        "both behind NAT: nobody can call",
    ),
    "gateway by name": (
        lambda s, k: k["ends"]["a"].update(address="vpn.example.org"),
        "ends.a.address: the address of a gateway must be numeric",
    ),
    "strictness of ipsec.conf": (
        lambda s, k: k.update(proposals=["aes256-sha256-modp2048!"]), "`!` has no counterpart",
    ),
    "misspelt algorithm": (
        lambda s, k: k.update(esp_proposals=["aes265-sha256"]), "no algorithm 'aes265'",
    ),
    "weak": (lambda s, k: k.update(esp_proposals=["3des-sha256"]), "3des is weak"),
    "no integrity": (
        lambda s, k: k.update(esp_proposals=["aes256"]), "encryption without integrity",
    ),
    "no key exchange": (lambda s, k: k.update(proposals=["aes256-sha256"]), "no key exchange"),
    "gcm without prf": (
        lambda s, k: k.update(proposals=["aes256gcm16-ecp384"]), "no pseudo-random function",
    ),
    "no proposal": (lambda s, k: k.update(proposals=[]), "proposals: is empty"),
    "MTU too large": (
        lambda s, k: k.update(mtu=1500), "mtu: the cipher leaves 1438 of the underlay (got 1500)",
    ),
    "long name": (lambda s, k: s["links"].update({"a-name-too-long-0": k}), "not a link name"),
    "one network behind two": (
        lambda s, k: s["links"].update({"a-c": _far(k, networks=["10.20.0.0/16"])}),
        "10.20.0.0/16 overlaps 10.20.0.0/24 of a-b",
    ),
    "two links of the same gateways": (
        lambda s, k: s["links"].update({"a-c": _twin(k)}),
        "a-c: joins 192.0.2.1 and 192.0.2.2, as a-b does, so that the daemons could not tell the"
        " keys and children of the two apart; write its networks as more children of a-b",
    ),
    "the far gateway of another link": (
        lambda s, k: [
            k.update(mode="route"), k["ends"]["b"].update(networks=["198.51.100.0/24"]),
            s["links"].update({"a-c": _far(k)}),
        ],
        "a-b: 198.51.100.0/24 takes in 198.51.100.9, the far gateway of a-c",
    ),
    "the name of what another link bypasses": (
        lambda s, k: [
            k.update(bypass=["10.20.0.9/32"]), s["links"].update({"a-b-bypass": _far(k)}),
        ],
        "a-b-bypass: is the name of what a-b bypasses",
    ),
    "one interface for two": (
        lambda s, k: [k.update(mode="route", if_id=7), s["links"].update({"a-c": _far(k)})],
        "shares interface or if_id",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_named(case: str) -> None:
    change, said = CASES[case]
    found = _problems(change)
    assert any(said in problem for problem in found), found
    assert all("; " in problem for problem in found), "each says what to do"


@pytest.mark.parametrize(
    "change",
    [
        lambda s, k: k.update(psk=LITERAL),
        lambda s, k: k.update(psk={"secret": LITERAL}),
        lambda s, k: k.update(psk={"env": "A", "vaule": LITERAL}),
        lambda s, k: k.update(psk={"file": [LITERAL]}),
        lambda s, k: k.update(psk={"env": LITERAL, "file": "x"}),
        lambda s, k: k.update(pre_shared_key=LITERAL),
        lambda s, k: k["ends"]["a"].update(certificate={"file": "a.pem", "key": LITERAL}),
    ],
)
def test_a_secret_in_the_inventory_is_refused_and_not_repeated(change: Change) -> None:
    (refused,) = _problems(change)
    assert LITERAL not in refused
    assert "may be a secret" in refused


def test_every_mistake_is_listed_at_once() -> None:
    def change(section: dict[str, Any], link: dict[str, Any]) -> None:
        link["ends"]["b"].update(networks=["10.10.0.0/25"])
        link.update(proposals=["3des-md5-modp1024"], mtu=1500)
        link.pop("psk")

    text = "\n".join(_problems(change))
    for word in ("overlaps 10.10.0.0/24", "3des is weak", "neither psk", "mtu:"):
        assert word in text


def test_what_the_link_must_not_take_is_bypassed() -> None:
    def change(section: dict[str, Any], link: dict[str, Any]) -> None:
        link["ends"]["b"]["networks"] = ["0.0.0.0/0"]
        link["bypass"] = ["10.10.0.0/24", "192.0.2.0/24"]

    assert _problems(change) == []


def test_two_links_of_the_same_gateways_need_identities_of_their_own() -> None:
    twin = {"identity": "second.example"}
    assert _problems(lambda s, k: s["links"].update({"a-c": _twin(k, **twin)})) == []
    # by policy, packets of the gateway itself are not taken
    assert _problems(
        lambda s, k: [
            k["ends"]["b"].update(networks=["198.51.100.0/24"]), s["links"].update({"c": _far(k)}),
        ]
    ) == []  # fmt: skip


def test_far_networks_must_not_be_our_pods() -> None:
    found = _problems(network={"pod_cidr": "10.20.0.0/16"})
    assert "10.20.0.0/24 overlaps network.pod_cidr 10.20.0.0/16" in found[0]


def test_an_end_has_one_gateway_and_two_pairs_share_the_load() -> None:
    (refused,) = _problems(lambda s, k: k["ends"]["a"].update(gateway=["a-gw", "a-gw2"]))
    assert "an end has one gateway" in refused
    assert "a link for each pair of gateways" in refused

    def pairs(section: dict[str, Any], link: dict[str, Any]) -> None:
        other = copy.deepcopy(link)
        link["ends"]["b"]["networks"] = ["10.20.0.0/25"]
        other["ends"]["a"] |= {"gateway": "a-gw2", "address": "192.0.2.3", "inside": "10.10.0.2"}
        other["ends"]["b"] = {"gateway": "b-gw2", "address": "192.0.2.4",
                              "networks": ["10.20.0.128/25"]}  # fmt: skip
        section["links"]["two"] = other

    assert _problems(pairs) == []


def test_problems_stand_in_the_order_of_the_inventory() -> None:
    nodes = [f"n{number}" for number in (7, 1, 5, 2, 8, 3, 6, 4)]
    section = copy.deepcopy(GOOD)
    for end in section["links"]["a-b"]["ends"].values():
        end |= {"nodes": nodes, "inside": "10.10.0.1"}
    raw = [RawHost(name, (), {"ipsec": section}, {}) for name in (*HOSTS, *nodes)]
    fleet, _ = read_fleet(raw, [IPsec, Network])
    told = [str(problem) for rule in RULES for problem in rule(fleet)]
    both = [text.split(": ")[2] for text in told if text.startswith("a-gw: ")]
    assert both == [f"{node} is on both sides; leave it out of one" for node in nodes]


def test_the_proposals_of_the_guide_are_taken() -> None:
    assert _problems(lambda s, k: k.update(proposals=["aes256-sha2_256-modp2048"])) == []
    assert _problems(lambda s, k: k.update(esp_proposals=["aes256-sha256-modp2048"])) == []


def test_hosts_must_be_told_the_same() -> None:
    other = copy.deepcopy(GOOD)
    other["links"]["a-b"]["mtu"] = 1400
    raw = [
        RawHost("a-gw", (), {"ipsec": GOOD}, {}),
        RawHost("b-gw", (), {"ipsec": other}, {}),
        RawHost("a1", (), {}, {}),
    ]
    fleet, _ = read_fleet(raw, [IPsec, Network])
    text = "\n".join(str(problem) for rule in RULES for problem in rule(fleet))
    assert "b-gw: ipsec.links.a-b: differs from what a-gw has" in text
    assert "a1: ipsec.links: lacks a-b, which a-gw has" in text


def test_an_absent_link_needs_nothing() -> None:
    assert _problems(lambda s, k: k.update(state="absent", ends={})) == []
