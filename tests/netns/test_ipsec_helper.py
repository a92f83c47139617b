"""The helper's rules and routes in a namespace of the kernel: order, repair, removal.

    10.10.0.0/24 -- (this namespace) -- eth0 10.10.0.11 ... gateway 10.10.0.1 ... 10.20.0.0/24

and for what hides addresses  (pod) 10.244.0.5 -- (this namespace) -- 10.20.0.7 (far side).
No security association is made here; that is proved on virtual machines.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from underlay.facts.ipsec import parse, readings
from underlay.facts.ipsec_host import FOLDER, Host
from underlay.facts.script import reading_script, split_readings
from underlay.features.ipsec import plan
from underlay.features.ipsec.settings import Link
from underlay.operations.ipsec_plan import SHARED, compare, texts
from underlay.operations.ipsec_tunnel import Tunnel
from underlay.render import source

pytestmark = pytest.mark.netns

LINK = Link.model_validate(
    {
        "ends": {
            "a": {
                "gateway": "a-gw", "address": "192.0.2.1", "nodes": ["a1"], "inside": "10.10.0.1",
                "networks": ["10.10.0.0/24", "10.244.0.0/16"],
            },
            "b": {"gateway": "b-gw", "address": "192.0.2.2", "networks": ["10.20.0.0/24"]},
        },
        "psk": {"env": "KEY"}, "bypass": ["10.20.0.200/32"],
    }
)  # fmt: skip
NODE = plan.tunnel("a-b", LINK, "a1")
GATEWAY = plan.tunnel("a-b", LINK, "a-gw")
STATE = (
    "nft list tables | grep underlay; iptables-save | grep -v '^#'; ip -4 rule;"
    " ip -4 route show table 218 2>/dev/null; :"
)


class Space:
    """One namespace with the helper, its files in a folder of the test."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        (folder / "etc").mkdir()
        script = source("ipsec/underlay-ipsec.sh")
        for path in ("/etc/underlay/ipsec", "/run/underlay-ipsec"):
            script = script.replace(path, f"{folder}/{path.split('/')[1]}")
        (folder / "helper").write_text(script)

    def run(self, command: str) -> str:
        """Standard output of a shell text in the namespace."""
        words = ["ip", "netns", "exec", self.name, "sh", "-c", command]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def helper(self, *words: str) -> None:
        """The helper as a unit calls it."""
        self.run(f"sh {self.folder}/helper {' '.join(words)}")

    def write(self, wanted: Tunnel) -> None:
        """The link's files for the helper."""
        for path, (text, _) in texts(wanted).items():
            if path.startswith(FOLDER):
                (self.folder / "etc" / Path(path).name).write_text(text)

    def host(self) -> Host:
        """What the fact makes of the namespace."""
        return parse(split_readings(self.run(reading_script(readings(SHARED))).splitlines()))

    def live(self, wanted: Tunnel) -> list[str]:
        """What differs in rules and routes; files, units and the daemon are not here."""
        words = (
            "rules in",
            "table of nft",
            "spared",
            "does not come to",
            "route to",
            "no rule leads",
        )
        reasons = compare(self.host(), wanted).reasons
        return [reason for reason in reasons if any(word in reason for word in words)]


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    """A namespace with one interface and a masquerading rule, as flannel makes one."""
    name = f"ipsec-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        found = Space(name, tmp_path)
        found.run(
            "ip link set lo up; ip link add eth0 type veth peer name far;"
            " ip addr add 10.10.0.11/24 dev eth0; ip link set eth0 up; ip link set far up;"
            " ip route add 10.20.0.0/24 via 10.10.0.1;"
            " iptables -t nat -A POSTROUTING -s 10.244.0.0/16 -j MASQUERADE"
        )
        yield found
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.parametrize("wanted", [NODE, GATEWAY], ids=["node", "gateway"])
def test_up_makes_what_the_plan_wants_and_down_leaves_nothing(space: Space, wanted: Tunnel) -> None:
    before = space.run(STATE)
    space.write(wanted)
    assert space.live(wanted)
    space.helper("up", "a-b")
    assert space.live(wanted) == []
    made = space.run(STATE)
    # again, and as at boot: the same
    space.helper("up", "a-b")
    space.helper("start")
    assert space.run(STATE) == made
    space.helper("down", "a-b")
    gone = space.run(STATE)
    assert "lookup 218" not in gone
    # what the timer runs must not bring it back while its other files are still there
    space.helper("refresh")
    assert space.run(STATE) == gone
    # tables that were never asked for are listed once somebody did
    empty = {line for line in gone.splitlines() if line[:1] not in "*:"} - {"COMMIT"}
    assert empty == {line for line in before.splitlines() if line[:1] not in "*:"} - {"COMMIT"}


def test_a_node_routes_by_our_table_and_keeps_its_own_route(space: Space) -> None:
    space.write(NODE)
    space.helper("up", "a-b")
    assert "table 218" in space.run("ip -4 route get 10.20.0.7")
    assert "mtu 1438" in space.run("ip -4 route show table 218")
    assert "10.20.0.0/24 via 10.10.0.1" in space.run("ip -4 route show table main")
    # what the link must not take goes its usual way
    assert "table 218" not in space.run("ip -4 route get 10.20.0.200")


def test_refresh_puts_our_rule_before_one_that_masquerades(space: Space) -> None:
    space.write(NODE)
    space.helper("up", "a-b")
    space.run("iptables -t nat -I POSTROUTING -s 10.244.0.0/16 -j MASQUERADE")
    assert any("POSTROUTING of nat" in text for text in space.live(NODE))
    space.helper("refresh")
    assert space.live(NODE) == []
    order = space.run("iptables -t nat -S POSTROUTING").splitlines()
    assert order[1] == "-A POSTROUTING -j IPSEC-NAT-a-b"
    assert len([line for line in order if "IPSEC-NAT" in line]) == 1


def test_refresh_repairs_what_somebody_flushed(space: Space) -> None:
    space.write(NODE)
    space.helper("up", "a-b")
    space.run(
        "iptables -t nat -F; iptables -t nat -X; ip -4 route flush table 218;"
        " ip -4 rule del pref 218"
    )
    space.helper("refresh")
    assert space.live(NODE) == []


def test_a_network_that_is_not_wanted_any_more_loses_its_route(space: Space) -> None:
    space.write(NODE)
    space.helper("up", "a-b")
    far = LINK.ends["b"].model_copy(update={"networks": (IPv4Network("10.20.0.7/32"),)})
    ends = {"a": LINK.ends["a"], "b": far}
    wanted = plan.tunnel("a-b", LINK.model_copy(update={"ends": ends}), "a1")
    space.write(wanted)
    space.helper("up", "a-b")
    assert "10.20.0.0/24" not in space.run("ip -4 route show table 218")
    assert space.live(wanted) == []


MASQUERADING = {
    "iptables": "iptables -t nat -I POSTROUTING -s 10.244.0.0/16 -j MASQUERADE",
    # as flannel with EnableNFTables has it
    "nft": (
        "nft 'table ip flannel-ipv4 { chain postrtg { type nat hook postrouting priority 100;"
        " ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random; }; }'"
    ),
}
#: Seen by the far side, whose server prints where one datagram came from.
SERVER = (
    "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('10.20.0.7', 7));"
    " s.settimeout(20); print('ready', flush=True); print(s.recvfrom(9)[1][0])"
)


@pytest.fixture
def sides(space: Space) -> Iterator[tuple[str, str]]:
    """Namespaces of a pod and of the far side, which the space forwards between."""
    names = (f"{space.name}-pod", f"{space.name}-far")
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        pod, far = names
        for name, device, own, here in (
            (pod, "p0", "10.244.0.5/24", "10.244.0.1/24"),
            (far, "f0", "10.20.0.7/24", "10.20.0.1/24"),
        ):  # fmt: skip
            space.run(
                f"ip link add {device} type veth peer name e0 netns {name};"
                f" ip addr add {here} dev {device}; ip link set {device} up"
            )
            route = f"default via {here.split('/')[0]}"
            inside = f"ip addr add {own} dev e0; ip link set e0 up; ip route add {route}"
            subprocess.run(["ip", "netns", "exec", name, "sh", "-c", inside], check=True)
        space.run("ip route del 10.20.0.0/24 via 10.10.0.1; echo 1 > /proc/sys/net/ipv4/ip_forward")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=True)


def _seen(pod: str, far: str) -> str:
    """The address that the far side sees of a pod's datagram."""
    words = ["ip", "netns", "exec", far, sys.executable, "-c", SERVER]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        send = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('10.20.0.7', 7))"
        subprocess.run(["ip", "netns", "exec", pod, sys.executable, "-c", send], check=True)
        return server.stdout.readline().strip()


@pytest.mark.parametrize("first", [True, False], ids=["ours-first", "theirs-first"])
@pytest.mark.parametrize("kinds", [("iptables",), ("nft",), ("iptables", "nft")], ids="-".join)
def test_the_far_side_sees_the_pod_itself(
    space: Space, sides: tuple[str, str], kinds: tuple[str, ...], first: bool
) -> None:
    space.run("iptables -t nat -F")
    theirs = "; ".join(MASQUERADING[kind] for kind in kinds)
    if not first:
        space.run(theirs)
        assert _seen(*sides) == "10.20.0.1"
    # a gateway's rules would drop what is not encrypted
    space.write(NODE)
    (space.folder / "etc/a-b.env").write_text(
        (space.folder / "etc/a-b.env").read_text().replace("ROUTES='10.20.0.0/24'", "ROUTES=''")
    )
    space.helper("up", "a-b")
    if first:
        space.run(theirs)
        # the timer's round, which puts ours in iptables before theirs
        space.helper("refresh")
    assert _seen(*sides) == "10.244.0.5"
    space.helper("down", "a-b")
    assert _seen(*sides) == "10.20.0.1"


def test_what_kube_proxy_has_to_masquerade_stays_masqueraded(
    space: Space, sides: tuple[str, str]
) -> None:
    space.run("iptables -t mangle -A PREROUTING -s 10.244.0.0/16 -j MARK --set-mark 0x4000")
    space.write(NODE)
    (space.folder / "etc/a-b.env").write_text(
        (space.folder / "etc/a-b.env").read_text().replace("ROUTES='10.20.0.0/24'", "ROUTES=''")
    )
    space.helper("up", "a-b")
    assert _seen(*sides) == "10.20.0.1"


def test_refresh_brings_our_table_of_nft_back(space: Space) -> None:
    space.write(NODE)
    space.helper("up", "a-b")
    space.run("nft flush ruleset")
    assert any("table of nft" in text for text in space.live(NODE))
    space.helper("refresh")
    assert space.live(NODE) == []
