"""WireGuard on a host: parsing what is live, and what differs from the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from underlay.facts.wireguard import parse, readings
from underlay.facts.wireguard_host import FOLDER, Host, Route
from underlay.journal import Entry
from underlay.operations.wireguard import path_may_change
from underlay.operations.wireguard_keys import known
from underlay.operations.wireguard_plan import (
    Interface,
    Peer,
    compare,
    digest,
    env_text,
    peers_text,
    safe,
    shared_files,
)
from underlay.operations.wireguard_refusals import cut_off, notes, refusals
from underlay.operations.wireguard_rotation import lost
from underlay.operations.wireguard_script import change, forwarding_before

KEYS = {
    "a": "5GHQs1dPE/d5+4yplKuDAJPM+gWRwgx+8gwDWFjUtDE=",
    "b": "g11CTHRCvrpJeAdiVAJG10L4DLAgu7fm7rUMl204A0w=",
}
OWN = "53jcyx7EJgGQx8QEOlcCmAIm6hRfIL9OGxFq2bfVcCg="
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

HUB = Interface(
    name="wg0", address="10.200.0.100/24", port=51820, mtu=1420, routes=("10.244.1.0/24",),
    forwards=True, opens=True, opens_v6=False, preshared=True,
    peers=(
        Peer("a", ("10.200.0.1/32", "10.244.1.0/24"), "203.0.113.2:51820"),
        Peer("b", ("10.200.0.2/32",)),
    ),
)  # fmt: skip


def _files() -> list[str]:
    texts = {"wg0.env": env_text(HUB), "wg0.peers": peers_text(HUB, KEYS)}
    return [f"{name}:{line}" for name, text in texts.items() for line in text.splitlines()]


def _reading() -> dict[str, list[str]]:
    """A hub that is as planned, as a Debian 12 host prints it."""
    return {
        "kernel": ["loaded"],
        "tools": ["wg", "ip", "iptables", "nft", "flock", "systemctl"],
        "live": [
            f"link wg0 {OWN} 51820",
            f"peer wg0 {KEYS['a']} psk={HASH} 203.0.113.2:51820 10.244.1.0/24,10.200.0.1/32 1764008"
            "201 off",
            f"peer wg0 {KEYS['b']} psk={HASH} (none) 10.200.0.2/32 0 off",
        ],
        "links": [
            "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT",
            "3: eth1@if5: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP",
            "5: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN",
        ],
        "addresses": [
            "3: eth1    inet 10.88.1.1/24 scope global eth1\\       valid_lft forever",
            "5: wg0    inet 10.200.0.100/24 scope global wg0\\       valid_lft forever",
        ],
        "routes": [
            "default via 10.88.1.254 dev eth1 ",
            "10.200.0.0/24 dev wg0 proto kernel scope link src 10.200.0.100 ",
            "10.244.1.0/24 dev wg0 proto 117 scope link ",
        ],
        "sysctl": [
            "/proc/sys/net/ipv4/ip_forward:1",
            "/proc/sys/net/ipv4/conf/wg0/rp_filter:2",
        ],
        "keys": [f"wg0 {OWN} 600"],
        "psk": [f"{HASH}  {FOLDER}/psk/wg0/a", f"{HASH}  {FOLDER}/psk/wg0/b"],
        "files": _files(),
        "hashes": [],
        "units": ["wg0 enabled active inactive"],
        "firewall": [
            "-P INPUT ACCEPT", "-P FORWARD DROP", "-A INPUT -j UNDERLAY-I-wg0",
            "-A FORWARD -j UNDERLAY-F-wg0", "-A UNDERLAY-F-wg0 -i wg0 -o wg0 -j ACCEPT",
            "-A UNDERLAY-I-wg0 -p udp -m udp --dport 51820 -j ACCEPT",
        ],
        "firewall6": [],
        "walls": [],
        "ports": [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt",
            "   99: 00000000:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000",
        ],
        "ssh": ["192.0.2.7 40022 10.88.1.1 22", "192.0.2.7 via 10.88.1.254 dev eth1 src 10.88.1.1"],
        "programs": [],
        "journal": [],
        "guard": [],
    }  # fmt: skip


def _host(**changes: Any) -> Host:
    return replace(parse(_reading()), **changes)


def _link(**changes: Any) -> Host:
    host = _host()
    return replace(host, links={**host.links, "wg0": replace(host.links["wg0"], **changes)})


def test_a_host_that_is_as_planned_has_no_difference() -> None:
    found = _host()
    assert found.ports == {51820}
    assert found.ours == ("wg0",)
    assert found.links["eth1"].public_key is None
    assert found.drops == {"forward"}
    assert found.firewall == {"wg0": ("forward", "input")}
    assert found.ssh == ("192.0.2.7", "10.88.1.1")
    assert found.ssh_device == "eth1"
    assert compare(found, HUB, KEYS).reasons == ()


def test_no_reading_prints_a_secret() -> None:
    texts = readings([])
    # the dump holds the private key: it goes through the loop that drops it, and nowhere else
    assert [name for name, text in texts.items() if "show all dump" in text] == ["live"]
    assert "$a" not in texts["live"].split("continue")[0].partition("printf 'link")[2]
    for name, text in texts.items():
        for line in text.splitlines():
            assert "cat" not in line or ".key" not in line, name
    # a preshared key goes through sha256sum before it is printed
    assert 'printf %s "$(cat "$f")" | sha256sum' in texts["psk"]
    assert all("wg pubkey" in text for text in texts.values() if "*.key" in text)


DRIFT: dict[str, tuple[Host, str]] = {
    "address": (_link(addresses=("10.200.0.9/24",)), "address 10.200.0.9/24, not 10.200.0.100/24"),
    "mtu": (_link(mtu=1300), "MTU 1300, not 1420"),
    "port": (_link(port=4000), "port 4000, not 51820"),
    "down": (_link(up=False), "wg0: down"),
    "strict": (_link(rp_filter=1), "rp_filter 1, not 2"),
    "no peers": (_link(peers={}), "peer a is missing"),
    "another key": (_link(public_key="x"), "runs with another key than its file holds"),
    "gone": (_host(links={}), "no such interface"),
    "unit": (_host(units={}), "its unit does not run"),
    "forwarding": (_host(ip_forward=False), "net.ipv4.ip_forward is off"),
    "firewall": (_host(firewall={}), "our firewall rules are not there"),
    "firewall of IPv6": (
        _host(firewall_v6={"wg0": ("input",)}),
        "our firewall rules are not there",
    ),
    "files": (_host(files={}), "wg0.peers differs"),
    "route gone": (_host(routes=()), "route 10.244.1.0/24 is missing"),
    "route too many": (
        _host(routes=(Route("10.244.1.0/24", "wg0", True), Route("10.9.0.0/24", "wg0", True))),
        "route 10.9.0.0/24 is too many",
    ),
    "preshared": (_host(preshared={}), "runs with another preshared key"),
}


@pytest.mark.parametrize("case", DRIFT)
def test_what_differs_live_is_named(case: str) -> None:
    found, said = DRIFT[case]
    assert any(said in reason for reason in compare(found, HUB, KEYS).reasons)


def test_a_stranger_among_the_peers_is_named() -> None:
    assert any(
        "a peer too many" in reason
        for reason in compare(_host(), replace(HUB, peers=HUB.peers[:1]), KEYS).reasons
    )


def test_a_peer_that_roams_is_no_difference() -> None:
    host = _host()
    peers = dict(host.links["wg0"].peers)
    peers[KEYS["a"]] = replace(peers[KEYS["a"]], endpoint="198.51.100.9:40000")
    assert compare(_link(peers=peers), HUB, KEYS).reasons == ()


def test_refusals() -> None:
    empty = _host(files={}, links={}, ports=frozenset(), routes=())
    assert refusals(empty, [HUB]) == []
    assert refusals(_host(), []) == []
    assert "install wireguard-tools" in refusals(replace(empty, tools=frozenset()), [HUB])[0]
    assert "no module wireguard" in refusals(replace(empty, kernel="missing"), [HUB])[0]
    there = replace(empty, links={"wg0": _host().links["wg0"]}, ports=frozenset({51820}))
    assert "exists and is not ours" in refusals(there, [HUB])[0]
    calico = {"wireguard.cali": replace(_host().links["wg0"])}
    taken = refusals(replace(empty, links=calico, ports=frozenset({51820})), [HUB])
    assert "taken by wireguard.cali" in taken[0]
    route = replace(empty, routes=(Route("10.244.1.0/24", "flannel.1", False),))
    assert "leaves by flannel.1 already" in refusals(route, [HUB])[0]


def test_an_overlay_may_be_renamed() -> None:
    # the old one still has the port and the networks, and goes in the same run
    renamed = replace(HUB, name="wg1")
    assert refusals(_host(), [renamed]) == []
    foreign = refusals(_host(files={}), [renamed])
    assert [text.partition(":")[0] for text in foreign] == [
        "UDP port 51820", "route 10.200.0.0/24"
    ]  # fmt: skip


def test_a_host_that_would_never_be_reached_again_is_known() -> None:
    within = _host(ssh=("10.200.0.1", "10.200.0.100"))
    assert cut_off(within, [HUB]) is None
    assert cut_off(within, [replace(HUB, name="wg1")]) is None
    assert cut_off(_host(), []) is None
    assert cut_off(replace(within, files={}), []) is None
    for wanted in ([], [replace(HUB, address="10.200.0.7/24")]):
        lost = cut_off(within, wanted)
        assert lost is not None
        assert lost[0].endswith("an address of wg0 that is to go")


def test_userspace_is_announced() -> None:
    host = _host(kernel="missing", userspace="wireguard-go")
    assert refusals(host, [HUB]) == []
    assert "wireguard-go carries the traffic" in notes(host, [HUB])[0]


def test_a_network_that_has_another_way_in_part_is_named() -> None:
    ways = (
        "default",
        "10.200.0.0/16",
        "10.244.1.64/26",
        "10.9.0.0/16",
        "blackhole",
        "10.200.0.0/24",
    )
    foreign = tuple(Route(to, "" if to == "blackhole" else "eth1", False) for to in ways)
    assert notes(_host(routes=foreign), [HUB]) == [
        "10.200.0.0/24 leaves by wg0, not by eth1 as 10.200.0.0/16 does",
        "10.244.1.64/26 leaves by eth1, not by wg0",
    ]
    blocks = tuple(Route(f"10.244.1.{n}/32", "cali1", False) for n in range(5))
    assert notes(_host(routes=blocks), [HUB])[-1] == ("and 2 more networks of wg0 with another way")
    assert notes(_host(), [HUB]) == []


def test_a_program_that_does_not_say_its_key_is_no_difference_on_every_apply() -> None:
    silent = replace(_link(public_key="(none)"), kernel="missing", userspace="boringtun-cli")
    assert compare(silent, HUB, KEYS).reasons == ()
    assert compare(_link(public_key="(none)"), HUB, KEYS).reasons != ()


def test_programs_that_go_past_the_tunnel_are_named() -> None:
    programs = (("kubelet", "--node-ip", "10.88.1.1"), ("flanneld", "--iface", "eth1"))
    told = notes(_host(programs=programs), [HUB])
    assert "kubelet runs without --node-ip=10.200.0.100" in told[0]
    assert "flanneld runs without --iface=wg0" in told[1]
    right = (("kubelet", "--node-ip", "10.200.0.100,fd00::1"), ("flanneld", "--iface", "wg0"))
    assert notes(_host(programs=right), [HUB]) == []
    assert notes(_host(programs=programs), []) == []


@pytest.mark.parametrize(
    ("words", "goes_past"),
    [
        ((), True),
        (("IP_AUTODETECTION_METHOD=first-found",), True),
        (("IP_AUTODETECTION_METHOD=interface=^eth.*",), True),
        (("IP_AUTODETECTION_METHOD=cidr=10.88.0.0/16",), True),
        (("IP_AUTODETECTION_METHOD=interface=^wg0$", "CALICO_NETWORKING_BACKEND=bird"), False),
        (("IP_AUTODETECTION_METHOD=cidr=10.88.0.0/16,10.200.0.0/24",), False),
        (("IP_AUTODETECTION_METHOD=kubernetes-internal-ip",), False),
        (("CALICO_NETWORKING_BACKEND=none",), False),
        (("IP_AUTODETECTION_METHOD=interface=(wg0",), False),
        (("IP_AUTODETECTION_METHOD=cidr=?",), False),
    ],
)
def test_calico_that_goes_past_the_tunnel_is_named(words: tuple[str, ...], goes_past: bool) -> None:
    told = notes(_host(programs=(("calico-node", *words),)), [HUB])
    assert bool(told) == goes_past
    assert all("IP_AUTODETECTION_METHOD=interface=^wg0$" in text for text in told)


@pytest.mark.parametrize(
    ("changes", "gone", "said"),
    [
        ({}, (), ""),
        ({"ssh": None}, ("wg0",), ""),
        (
            {"ssh": ("10.244.1.9", "10.88.1.1")},
            (),
            "10.244.1.9, this computer, lies in 10.244.1.0/24",
        ),
        ({"ssh_device": "wg0"}, (), "replies to this computer"),
        ({"ssh": ("192.0.2.7", "10.200.0.100")}, ("wg0",), "SSH arrives at 10.200.0.100"),
    ],
)
def test_when_ssh_may_take_another_way(
    changes: dict[str, Any], gone: tuple[str, ...], said: str
) -> None:
    wanted = [] if gone else [HUB]
    assert path_may_change(_host(**changes), wanted, gone).startswith(said)
    assert bool(path_may_change(_host(**changes), wanted, gone)) == bool(said)


def test_keys_of_an_earlier_run_are_known() -> None:
    assert known(peers_text(HUB, KEYS)) == KEYS
    assert known("") == {}
    assert safe("@fake/n1") == "_fake_n1"


def test_shared_files_are_written_when_they_differ() -> None:
    files = shared_files(_host())
    assert len(files) == 4
    hashes = {path: digest(text) for path, (text, _) in files.items()}
    assert shared_files(_host(hashes=hashes)) == {}


def test_forwarding_is_remembered_once_and_forgotten_after_a_removal() -> None:
    first = Entry("1", "r", "applying", {"previous": {"net.ipv4.ip_forward": "0"}})
    later = Entry("2", "r", "applying", {"applied": ["wg0"]})
    removed = Entry("3", "r", "removed", {})
    assert forwarding_before([first, later]) == "0"
    assert forwarding_before([first, removed, later]) == ""


def test_a_change_writes_the_journal_first_and_removes_before_it_adds() -> None:
    text = change({}, [HUB], ["wg9"], forwarding_was_off=True)
    assert text.index("journal.jsonl") < text.index("wg9.env") < text.index("sync wg0")


def test_the_count_of_a_rotation() -> None:
    said = (
        "60 packets transmitted, 57 received, 5% packet loss, time 12041ms"
        " rtt min/avg/max/mdev = 0.9/20.4/1204.5/10.1 ms, pipe 6"
    )
    assert lost(said) == (60, 3, 1.2045)
    with pytest.raises(ValueError, match="no summary"):
        lost("ping: bad address")
