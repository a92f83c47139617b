"""The helper of an overlay in namespaces of the kernel: handshakes, and firewalls of others.

    a 192.0.2.2 -- 192.0.2.1 hub 192.0.2.5 -- 192.0.2.6 b        10.200.0.0/24 over both

Sockets of a userspace program are shared by all namespaces, so each has a name of its own for the
interface; without the kernel module the helper falls back to that program.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.command import StringCommand

from underlay.errors import UnderlayError
from underlay.facts.script import ScriptFact, reading_script, split_readings
from underlay.facts.wireguard import parse, readings
from underlay.facts.wireguard_host import Host
from underlay.features.wireguard import plan, rotate
from underlay.features.wireguard.settings import Overlay
from underlay.operations import wireguard_rotation as steps
from underlay.operations.wireguard_plan import Interface, compare, env_text, peers_text
from underlay.operations.wireguard_refusals import notes
from underlay.render import source

pytestmark = pytest.mark.netns

OVERLAY = Overlay.model_validate(
    {
        "overlay_cidr": "10.200.0.0/24", "hubs": ["hub"], "accept_single_hub": True,
        "nodes": {
            "hub": {"address": "10.200.0.100", "endpoint": "192.0.2.1:51820"},
            "a": {"address": "10.200.0.1", "behind_nat": True},
            "b": {
                "address": "10.200.0.2", "behind_nat": True, "reach": {"hub": "192.0.2.5:51820"},
            },
        },
    }
)  # fmt: skip
WALL = "nft add table inet own; nft 'add chain inet own in { type filter hook %s priority 0;" \
    " policy drop; }'"  # fmt: skip


class Member:
    """One namespace with the helper, its files in a folder of the test."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.space, self.device = f"uw{os.getpid()}{host}", f"wg{os.getpid() % 100000}{host}"
        (folder / "etc").mkdir(parents=True)
        script = source("wireguard/underlay-wireguard.sh")
        for path in ("/etc/underlay/wireguard", "/run/underlay-wireguard"):
            script = script.replace(path, f"{folder}/{path.split('/')[1]}")
        (folder / "helper").write_text(script)
        key = folder / "etc" / f"{self.device}.key"
        self.public = self._alone(f"umask 077; wg genkey > {key}; wg pubkey < {key}").strip()

    @staticmethod
    def _alone(command: str) -> str:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def run(self, command: str) -> str:
        """Standard output of a shell text in the namespace."""
        words = ["ip", "netns", "exec", self.space, "sh", "-c", command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{self.host}: {command}: {done.stderr}"
        return done.stdout

    def up(self, keys: dict[str, str], wanted: Interface | None = None) -> None:
        """Write what is wanted and bring it up."""
        found = wanted or self.wanted
        folder = self.folder / "etc"
        (folder / f"{self.device}.env").write_text(env_text(found))
        (folder / f"{self.device}.peers").write_text(peers_text(found, keys))
        self.run(f"sh {self.folder}/helper up {self.device}")

    @property
    def wanted(self) -> Interface:
        """The plan for this member."""
        return plan.interface(self.device, OVERLAY, self.host)

    def read(self) -> Host:
        """What the fact makes of the namespace."""
        script = reading_script(readings([])).replace(
            "/etc/underlay/wireguard", f"{self.folder}/etc"
        )
        return parse(split_readings(self.run(script).splitlines()))

    def get_fact(self, kind: type[ScriptFact[Any]], **arguments: Any) -> Any:
        """A fact of this member, for a caller that knows its interface as wg0."""
        command = kind().command(**arguments)
        assert isinstance(command, StringCommand)
        text = command.get_raw_value().replace("wg0", self.device)
        for path in ("/etc/underlay/wireguard", "/run/underlay-wireguard"):
            text = text.replace(path, f"{self.folder}/{path.split('/')[1]}")
        return kind().process(self.run(text).replace(self.device, "wg0").splitlines())

    def reaches(self, address: str) -> bool:
        """Whether one of several pings comes back."""
        return "bytes from" in self.run(f"ping -c 4 -i 0.5 -W 2 {address} || :")


Star = dict[str, Member]


@pytest.fixture
def star(tmp_path: Path) -> Iterator[Star]:
    """Three members on their links, nothing brought up."""
    found = {name: Member(name, tmp_path / name) for name in OVERLAY.nodes}
    try:
        for member in found.values():
            subprocess.run(["ip", "netns", "add", member.space], check=True)
            member.run("ip link set lo up")
        for number, spoke in enumerate(("a", "b")):
            hub, other = found["hub"], found[spoke]
            hub.run(f"ip link add e{spoke} type veth peer name eth0 netns {other.space}")
            hub.run(
                f"ip addr add 192.0.2.{4 * number + 1}/30 dev e{spoke}; ip link set e{spoke} up"
            )
            other.run(f"ip addr add 192.0.2.{4 * number + 2}/30 dev eth0; ip link set eth0 up")
        yield found
    finally:
        for member in found.values():
            down = ["ip", "netns", "exec", member.space, "ip", "link", "del", member.device]
            subprocess.run(down, capture_output=True)
            subprocess.run(["ip", "netns", "del", member.space], capture_output=True)


def _up(star: Star) -> dict[str, str]:
    keys = {name: member.public for name, member in star.items()}
    for member in star.values():
        member.up(keys)
    return keys


def test_spokes_reach_each_other_and_nothing_differs_from_the_plan(star: Star) -> None:
    keys = _up(star)
    assert star["a"].reaches("10.200.0.2")
    for member in star.values():
        found = replace(member.read(), kernel="loaded")
        reasons = [
            reason
            for reason in compare(found, member.wanted, keys).reasons
            if not reason.endswith(("differs", "at boot"))
        ]
        assert reasons == []
        assert notes(found, [member.wanted]) == []


@pytest.mark.parametrize("hook", ["input", "forward"])
def test_a_drop_of_somebody_else_stands_above_our_accept_and_is_told_with_its_remedy(
    star: Star, hook: str
) -> None:
    hub = star["hub"]
    hub.run(WALL % hook)
    _up(star)
    assert not star["a"].reaches("10.200.0.2")
    (told,) = notes(replace(hub.read(), kernel="loaded"), [hub.wanted])
    assert "inet own in drops what it does not name" in told
    rule = told.rpartition("add there: ")[2]
    hub.run(f"nft add rule inet own in {rule}")
    assert star["a"].reaches("10.200.0.2")
    assert notes(replace(hub.read(), kernel="loaded"), [hub.wanted]) == []


def test_a_drop_in_the_tables_of_iptables_does_not_stand_above_our_accept(star: Star) -> None:
    hub = star["hub"]
    hub.run("iptables -P INPUT DROP; iptables -P FORWARD DROP")
    _up(star)
    assert star["a"].reaches("10.200.0.2")
    assert notes(replace(hub.read(), kernel="loaded"), [hub.wanted]) == []


def test_a_port_that_is_called_over_ipv6_is_open_there_too(star: Star) -> None:
    hub = star["hub"]
    wanted = replace(hub.wanted, opens_v6=True)
    hub.up({name: member.public for name, member in star.items()}, wanted)
    assert "--dport 51820 -j ACCEPT" in hub.run("ip6tables -S")
    assert hub.read().firewall_v6 == {hub.device: ("input",)}
    hub.up({name: member.public for name, member in star.items()})
    assert "UNDERLAY" not in hub.run("ip6tables -S")
    hub.run(f"sh {hub.folder}/helper down {hub.device}")
    assert "UNDERLAY" not in hub.run("iptables -S; ip6tables -S")


def test_a_file_that_was_cut_takes_no_peer_away(star: Star) -> None:
    hub = star["hub"]
    _up(star)
    path = hub.folder / "etc" / f"{hub.device}.peers"
    text = path.read_text()

    def peers() -> set[str]:
        # wireguard-go names them in no order
        return set(hub.run(f"wg show {hub.device} peers").split())

    before = peers()
    assert len(before) == 2
    for end in (0, text.index("\n[Peer]"), text.rindex("\n[Peer]"), len(text) - len("# end\n")):
        path.write_text(text[:end])
        refused = hub.run(f"sh {hub.folder}/helper sync {hub.device} 2>&1 && echo taken || :")
        assert "damaged, nothing was changed" in refused
        assert "taken" not in refused
        assert peers() == before


def test_another_name_is_called_at_once_and_a_peer_that_roams_is_left_alone(star: Star) -> None:
    keys = {name: member.public for name, member in star.items()}
    one = star["a"]

    def called(name: str) -> str:
        # a number that the resolver knows, and that is no address in figures and points
        (peer,) = one.wanted.peers
        one.up(keys, replace(one.wanted, peers=(replace(peer, endpoint=name, named=True),)))
        return one.run(f"wg show {one.device} endpoints").split()[1]

    assert called("0xc0000209:51820") == "192.0.2.9:51820"
    assert called("0xc0000201:51820") == "192.0.2.1:51820"
    one.run(f"wg set {one.device} peer {keys['hub']} endpoint 192.0.2.33:51820")
    assert called("0xc0000201:51820") == "192.0.2.33:51820"


def _keys(star: Star) -> dict[str, str]:
    return {
        name: member.run(f"wg show {member.device} public-key") for name, member in star.items()
    }


@pytest.mark.parametrize("member", ["a", "hub"])
def test_a_key_is_replaced_while_its_peers_follow(star: Star, member: str) -> None:
    _up(star)
    assert star["a"].reaches("10.200.0.2")
    before = _keys(star)
    done = rotate.rotate(star, "wg0", OVERLAY, member)
    after = _keys(star)
    assert {name for name in star if after[name] != before[name]} == {member}
    assert done.sent > 0
    assert done.lost < 15
    assert star["a"].reaches("10.200.0.2")
    # what starts at the next boot is what runs now
    for one in star.values():
        one.run(f"sh {one.folder}/helper up {one.device}")
    assert _keys(star) == after
    assert star["a"].reaches("10.200.0.2")
    assert not list(star[member].folder.glob("etc/*.next"))


def test_a_member_without_any_peer_gets_a_new_key_too(star: Star) -> None:
    alone = OVERLAY.model_copy(update={"nodes": {"hub": OVERLAY.nodes["hub"]}})
    hub = star["hub"]
    hub.up({}, plan.interface(hub.device, alone, "hub"))
    before = hub.run(f"wg show {hub.device} public-key")
    assert rotate.rotate(star, "wg0", alone, "hub").sent == 0
    assert hub.run(f"wg show {hub.device} public-key") != before


def test_no_key_is_replaced_while_a_peer_has_no_session(star: Star) -> None:
    star["b"].run("ip link set eth0 down")
    _up(star)
    before = _keys(star)
    with pytest.raises(UnderlayError, match="key not replaced, b gives no answer"):
        rotate.rotate(star, "wg0", OVERLAY, "hub")
    assert _keys(star) == before


def test_a_key_that_is_never_taken_takes_nothing_from_the_old_one(
    star: Star, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This computer is lost after the peers were told and before the member was."""
    keys = _up(star)
    monkeypatch.setattr(steps, "READY", 4)
    new = star["a"].run("wg genkey | wg pubkey").strip()
    hub = star["hub"]
    hub.get_fact(steps.Ran, script=steps.learn("wg0", "a", keys["a"], new, ["10.200.0.1/32"]))
    assert star["a"].reaches("10.200.0.2")
    assert rotate._wait(hub, "wg0") == "no handshake with the new key"
    assert new not in hub.run(f"wg show {hub.device} peers")
    assert star["a"].reaches("10.200.0.2")


def test_a_peer_that_is_lost_meanwhile_does_not_take_the_others_with_it(
    star: Star, monkeypatch: pytest.MonkeyPatch
) -> None:
    _up(star)
    monkeypatch.setattr(steps, "READY", 12)
    monkeypatch.setattr(steps, "PATIENCE", 6)
    monkeypatch.setattr(steps, "silent", lambda name, peers: ":")
    before = _keys(star)["hub"]
    star["b"].run("ip link set eth0 down")
    with pytest.raises(UnderlayError, match="hub: wg0: new key, but b: no handshake"):
        rotate.rotate(star, "wg0", OVERLAY, "hub")
    assert _keys(star)["hub"] != before
    assert star["a"].reaches("10.200.0.100")


def test_routes_peers_and_addresses_follow_the_plan_and_then_nothing_differs(star: Star) -> None:
    """A single address behind a member, the last peer that goes, an address that changes."""
    keys = {name: member.public for name, member in star.items()}
    hub = star["hub"]
    nodes = {
        **OVERLAY.nodes,
        "b": OVERLAY.nodes["b"].model_copy(
            update={"pod_cidrs": (IPv4Network("10.244.2.0/24"), IPv4Network("10.9.9.9/32"))}
        ),
    }
    routed = plan.interface(hub.device, OVERLAY.model_copy(update={"nodes": nodes}), "hub")
    alone = OVERLAY.model_copy(update={"nodes": {"hub": OVERLAY.nodes["hub"]}})
    last = plan.interface(hub.device, alone, "hub")
    moved = replace(last, address="10.200.0.99/24")
    for wanted in (routed, last, moved):
        hub.up(keys, wanted)
        found = replace(hub.read(), kernel="loaded")
        reasons = compare(found, wanted, keys).reasons
        assert [r for r in reasons if not r.endswith(("differs", "at boot"))] == []
    assert hub.run(f"wg show {hub.device} peers") == ""
    assert "10.200.0.100" not in hub.run(f"ip addr show {hub.device}")
    assert hub.run(f"ip route show dev {hub.device} proto 117") == ""
