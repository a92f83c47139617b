"""The star on the wire: spokes that reach only the hub, joined by WireGuard, and back to nothing.

    w1 ----- hub ----- w2          10.88.1.0/24 and 10.88.2.0/24; w1 and w2 cannot reach each other
     `------ wg0 ------'           10.200.0.0/24 over both

UNDERLAY_TEST_STAR names a lab of topology star that runs already, else one is made here.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.lab.bad_day import NO_ROOM, ahead, refused
from tests.lab.machines import Machines, own_lab, pings

from underlay.lab import links, network, ssh

pytestmark = pytest.mark.lab

DEPLOY = "deploys/wireguard.py"
ADDRESSES = {"hub": "10.200.0.100", "w1": "10.200.0.1", "w2": "10.200.0.2"}
FOLDER = "/etc/underlay/wireguard"
#: What of a machine the overlay could change.
BASELINE = (
    "ip -o -4 addr show | cut -d' ' -f2-7; ip -4 route; iptables -S;"
    " nft list tables | grep underlay; sysctl -n net.ipv4.ip_forward;"
    " ls /etc/systemd/system; ls /etc/underlay /usr/local/sbin 2>&1; :"
)
#: Every argument of every process, and every key that others can read, many times a second.
SAMPLER = f"""
import os, stat, time
from pathlib import Path
seen = set()
with open("/tmp/sampled", "w", buffering=1) as out:
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try: text = Path("/proc", pid, "cmdline").read_bytes().replace(b"\\0", b" ").decode()
            except OSError: continue
            if text not in seen: seen.add(text); print(text, file=out)
        for path in [*Path("{FOLDER}").glob("*key*"), *Path("{FOLDER}").glob("psk/*/*")]:
            try: mode = path.stat().st_mode
            except OSError: continue
            if mode & 0o077 and not stat.S_ISDIR(mode): print("OPEN", path, file=out)
        time.sleep(0.02)
"""


class Star(Machines):
    """The lab with inventories/star.py, and settings of one test over it."""

    def command(self, *words: str) -> list[str]:
        """The command line of pyinfra with the inventory of the star."""
        return [
            "inventories/star.py" if word == "inventory.py" else word
            for word in super().command(*words)
        ]

    def settings(self, *, leave_out: tuple[str, ...] = (), **changes: Any) -> tuple[str, str]:
        """`--data` for the section: the star with preshared keys, and a name for w1's endpoint."""
        nodes: dict[str, dict[str, Any]] = {
            "hub": {"address": ADDRESSES["hub"], "endpoint": "10.88.1.1:51820"},
            "w1": {
                "address": ADDRESSES["w1"], "behind_nat": True,
                "reach": {"hub": "hub.star.test:51820"},
            },
            "w2": {
                "address": ADDRESSES["w2"], "endpoint": "10.88.2.2:51820",
                "reach": {"hub": "10.88.2.1:51820"},
            },
        }  # fmt: skip
        for name, more in changes.pop("nodes", {}).items():
            nodes[name].update(more)
        overlay = {
            "overlay_cidr": "10.200.0.0/24", "hubs": ["hub"], "accept_single_hub": True,
            "preshared_keys": True, "state": changes.pop("state", "present"),
            "nodes": {name: node for name, node in nodes.items() if name not in leave_out},
        }  # fmt: skip
        return ("--data", f"wireguard={json.dumps({'overlays': {'wg0': overlay}, **changes})}")

    def pings(self, source: str, target: str) -> bool:
        """Whether one of three pings comes back."""
        return ssh.execute(self.lab, source, f"ping -c 3 -i 0.3 -W 3 {target}").code == 0

    def joined(self, source: str, target: str) -> None:
        """Wait until one reaches the other: an end that has lost its session, or has moved, is
        asked for a new one after 15 s without an answer.
        """
        until = time.monotonic() + 60
        while not self.pings(source, ADDRESSES[target]):
            assert time.monotonic() < until, f"{source} does not reach {target}"

    def pairs(self) -> list[bool]:
        """Every pair over the overlay, both ways."""
        return [
            self.pings(one, address)
            for one in ADDRESSES
            for other, address in ADDRESSES.items()
            if one != other
        ]

    @contextmanager
    def background(self, machine: str, command: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs on a machine meanwhile."""
        words = [*ssh.command(self.lab, machine), "--", command]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield child
        finally:
            child.terminate()
            child.wait()


@pytest.fixture(scope="module")
def machines() -> Iterator[Star]:
    """The star."""
    yield from own_lab("star-scenarios", Star, "UNDERLAY_TEST_STAR", topology="star")


@pytest.fixture(scope="module", autouse=True)
def before(machines: Star) -> dict[str, str]:
    """Every machine before the first deploy."""
    machines.on("w1", "grep -q star.test /etc/hosts || echo 10.88.1.1 hub.star.test >> /etc/hosts")
    return machines.everywhere(BASELINE)


def test_before_workers_cannot_reach_each_other(machines: Star) -> None:
    assert machines.pings("w1", "10.88.1.1")
    assert machines.pings("w2", "10.88.2.1")
    assert not machines.pings("w1", "10.88.2.2")
    assert not machines.pings("w2", "10.88.1.2")
    assert not machines.pings("w1", machines.lab.machine("w2").address)


def test_a_link_has_the_mtu_and_the_loss_it_is_given(machines: Star) -> None:
    lab = links.set_link(machines.lab, "hub-w1", mtu=1400)
    assert pings(machines, "w1", "10.88.1.1", "-M", "do", "-s", "1372")
    assert not pings(machines, "w1", "10.88.1.1", "-M", "do", "-s", "1373")
    lab = links.set_link(lab, "hub-w1", mtu=1500, loss=100)
    assert not pings(machines, "w1", "10.88.1.1")
    lab = links.set_link(lab, "hub-w1", loss=0)
    assert pings(machines, "w1", "10.88.1.1", "-M", "do", "-s", "1472")
    links.cut(lab, "w2")
    assert not pings(machines, "hub", "10.88.2.2")
    links.join(lab, "w2")
    assert pings(machines, "hub", "10.88.2.2")


def test_apply_joins_all_pairs_and_shows_no_secret(machines: Star) -> None:
    for name in machines.names:
        start = f"setsid python3 -c {shlex.quote(SAMPLER)} >/dev/null 2>&1 </dev/null & echo $!"
        machines.on(name, f"{start} > /tmp/sampler.pid")
    done = machines.pyinfra(*machines.settings(), "-vvv", "--debug", "--diff", DEPLOY)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert machines.pairs() == [True] * 6
    secrets = {}
    for name in machines.names:
        machines.on(name, "kill $(cat /tmp/sampler.pid)")
        found = machines.on(name, f"cat {FOLDER}/*.key {FOLDER}/psk/wg0/*").split()
        secrets.update(dict.fromkeys(found, name))
    # three private keys, and two preshared ones that lie on both sides
    assert len(secrets) == 5
    for name in machines.names:
        sampled = machines.on(name, "cat /tmp/sampled; rm /tmp/sampled")
        assert "sh -c" in sampled
        assert not re.search("^OPEN /", sampled, re.MULTILINE)
        logged = machines.on(name, "journalctl --no-pager; cat /var/lib/underlay/*/*.jsonl")
        for secret in secrets:
            assert secret not in sampled, name
            assert secret not in logged, name
    assert not [secret for secret in secrets if secret in said]
    modes = machines.on("hub", f"stat -c '%a %n' {FOLDER} {FOLDER}/wg0.key {FOLDER}/psk/wg0/*")
    assert {line.split()[0] for line in modes.splitlines()} == {"700", "600"}


def test_a_second_apply_changes_nothing(machines: Star) -> None:
    machines.unchanged(*machines.settings(), DEPLOY)


def test_keepalive_comes_only_from_behind_nat(machines: Star) -> None:
    assert "every 25 seconds" in machines.on("w1", "wg show wg0")
    assert "every" not in machines.on("hub", "wg show wg0")
    assert "every" not in machines.on("w2", "wg show wg0")


def test_pods_over_vxlan_and_nothing_but_wireguard_on_the_wire(machines: Star) -> None:
    for number, own, far in ((1, "w1", "w2"), (2, "w2", "w1")):
        machines.on(
            own,
            f"ip link add vx0 type vxlan id 7 dstport 8472 dev wg0 local {ADDRESSES[own]}"
            f" remote {ADDRESSES[far]} && ip link add br7 type bridge && ip netns add pod"
            " && ip link add veth7 type veth peer name eth0 netns pod mtu 1370"
            " && ip link set veth7 mtu 1370 && ip link set vx0 master br7 up"
            " && ip link set veth7 master br7 up && ip link set br7 up"
            f" && ip -n pod addr add 10.244.7.{number}/24 dev eth0 && ip -n pod link set eth0 up",
        )
    lab = machines.lab
    capture = ["ip", "netns", "exec", lab.netns, "tcpdump", "-n", "-l", "-i"]
    sniffer = subprocess.Popen(
        [*capture, network.bridge("hub-w1")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert sniffer.stderr is not None
        while "listening on" not in sniffer.stderr.readline():
            pass
        assert machines.on("w1", "cat /sys/class/net/vx0/mtu") == "1370"
        machines.on("w1", "ip netns exec pod ping -c 3 -i 0.3 -W 3 10.244.7.2")
        # 28 bytes are the headers of IP and ICMP
        machines.on("w1", f"ip netns exec pod ping -c 2 -W 3 -M do -s {1370 - 28} 10.244.7.2")
        machines.on("w1", f"ping -c 2 -W 3 -M do -s {1420 - 28} {ADDRESSES['w2']}")
        refused = machines.on(
            "w1", f"ping -c 1 -W 3 -M do -s {1421 - 28} {ADDRESSES['w2']} 2>&1", check=False
        )
        assert "message too long, mtu=1420" in refused.lower()
        refused = machines.on(
            "w1", f"ip netns exec pod ping -c 1 -W 3 -M do -s {1371 - 28} 10.244.7.2 2>&1",
            check=False,
        )  # fmt: skip
        assert "message too long" in refused.lower()
    finally:
        sniffer.terminate()
        seen = [line for line in sniffer.communicate()[0].splitlines() if line.strip()]
    for own in ("w1", "w2"):
        machines.on(own, "ip link del vx0; ip link del br7; ip netns del pod")
    packets = [line for line in seen if " IP " in line]
    assert len(packets) > 12
    # neighbour discovery of the links themselves goes in clear
    wireguard = re.compile(r"\.51820 > [0-9.]+\.51820: UDP| ARP, | IP6 fe80::")
    strange = [line for line in seen if not wireguard.search(line)]
    assert not strange, strange[:5]
    assert not [line for line in seen if "10.200." in line or "10.244." in line]


FRAGMENTS = "nstat -asz IpFragCreates IpReasmReqds | awk 'NR > 1 {print $2}'"
RECEIVE = """python3 -c '
import hashlib, socket
server = socket.create_server(("0.0.0.0", 4243))
print("listens", flush=True)
link, found, size = server.accept()[0], hashlib.sha256(), 0
while part := link.recv(65536): found.update(part); size += len(part)
print(size, found.hexdigest(), flush=True)
'"""
SEND = """python3 -c '
import hashlib, random, socket
block, found = random.Random(1).randbytes(1 << 20), hashlib.sha256()
with socket.create_connection(("%s", 4243), 20) as link:
    for _ in range(64): link.sendall(block); found.update(block)
print(64 << 20, found.hexdigest())
'"""


def test_64_mib_from_spoke_to_spoke_without_a_fragment(machines: Star) -> None:
    before = machines.everywhere(FRAGMENTS)
    with machines.background("w2", RECEIVE) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline().strip() == "listens"
        sent = machines.on("w1", SEND % ADDRESSES["w2"])
        assert receiver.stdout.readline().strip() == sent
    assert machines.everywhere(FRAGMENTS) == before


STREAM = """python3 -c '
import socket, sys, time
link = socket.create_connection(("%s", 4242), 20)
link.settimeout(60)
sent, until = 0, time.time() + 600
while time.time() < until:
    link.sendall(b"%%d\\n" %% sent)
    if link.recv(100).strip() != b"%%d" %% sent: sys.exit("echo differs")
    sent += 1
    print(sent, flush=True)
    time.sleep(0.1)
'"""


@pytest.mark.slow
def test_a_stream_survives_a_peer_that_goes_and_comes(machines: Star) -> None:
    echo = "socat TCP-LISTEN:4242,reuseaddr EXEC:cat"
    index = machines.on("hub", "cat /sys/class/net/wg0/ifindex")
    with (
        machines.background("hub", echo),
        machines.background("w1", STREAM % ADDRESSES["hub"]) as stream,
    ):
        assert stream.stdout is not None
        assert stream.stdout.readline().strip() == "1"
        machines.applied(*machines.settings(leave_out=("w2",)), DEPLOY)
        assert machines.on("hub", "wg show wg0 peers | wc -l") == "1"
        assert machines.on("w2", f"ip link show wg0 2>&1; ls {FOLDER} 2>&1", check=False).count(
            "No such file"
        )
        assert not machines.pings("w1", ADDRESSES["w2"])
        machines.applied(*machines.settings(), DEPLOY)
        assert machines.pings("w1", ADDRESSES["w2"])
        assert stream.poll() is None, stream.stdout.read()
        told = _lines_so_far(stream)
        time.sleep(2)
        assert _lines_so_far(stream) > told, "the stream stands still"
    assert machines.on("hub", "cat /sys/class/net/wg0/ifindex") == index


def _lines_so_far(stream: subprocess.Popen[str]) -> int:
    assert stream.stdout is not None
    last = 0
    until = time.monotonic() + 1
    while time.monotonic() < until:
        last = int(stream.stdout.readline())
    return last


@pytest.mark.slow
def test_a_spoke_whose_address_changes_is_found_again(machines: Star) -> None:
    link = machines.on("w2", "ip -o -4 route get 10.88.2.1 | grep -o 'dev [^ ]*' | cut -d' ' -f2")
    # the old one first: the kernel takes the second address of a network with the first
    machines.on("w2", f"ip addr del 10.88.2.2/24 dev {link}; ip addr add 10.88.2.77/24 dev {link}")
    try:
        machines.joined("w2", "hub")
        assert "10.88.2.77:51820" in machines.on("hub", "wg show wg0 endpoints")
        machines.joined("w1", "w2")
        moved = machines.settings(nodes={"w2": {"endpoint": "10.88.2.77:51820"}})
        machines.applied(*moved, DEPLOY)
        machines.unchanged(*moved, DEPLOY)
        assert machines.pairs() == [True] * 6
    finally:
        machines.on("w2", f"ip addr del 10.88.2.77/24 dev {link}; ip addr add 10.88.2.2/24"
                    f" dev {link}")  # fmt: skip
    machines.applied(*machines.settings(), DEPLOY)
    machines.joined("w2", "hub")
    machines.joined("w1", "w2")
    assert machines.pairs() == [True] * 6


@pytest.mark.slow
def test_without_the_kernel_module_a_program_carries_it_and_that_is_told(machines: Star) -> None:
    machines.applied(*machines.settings(leave_out=("w2",)), DEPLOY)
    path = machines.on("w2", "modinfo -n wireguard")
    machines.on("w2", f"modprobe -r wireguard; mv {path} {path}.away; depmod")
    try:
        done = machines.pyinfra(*machines.settings(), DEPLOY)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        assert "w2: the kernel has no module wireguard; wireguard-go carries the traffic" in text
        assert machines.pairs() == [True] * 6
        machines.unchanged(*machines.settings(), DEPLOY)
        done = machines.underlay("lab", "exec", "--name", machines.lab.name, "--on", "w2", "--",
                                 "reboot")  # fmt: skip
        assert done.returncode == 0, done.stderr
        for one, other in (("hub", "w2"), ("w1", "w2")):
            machines.joined(one, other)
        assert machines.pairs() == [True] * 6
        machines.applied(*machines.settings(leave_out=("w2",)), DEPLOY)
        assert machines.on("w2", "pgrep -x wireguard-go; ip link show wg0", check=False) == ""
    finally:
        machines.on("w2", f"mv {path}.away {path}; depmod")
    machines.applied(*machines.settings(), DEPLOY)
    assert machines.pairs() == [True] * 6


@pytest.mark.slow
def test_keys_rotate_and_traffic_goes_on(machines: Star) -> None:
    keys = machines.everywhere("wg show wg0 public-key")
    words = machines.settings()
    done = machines.underlay("wireguard", "rotate", "inventories/star.py", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if "new key" in line]
    assert [line.split(": ")[1] for line in told] == ["w1", "w2", "hub"]
    for line in told:
        lost, sent = map(int, re.findall(r"(\d+) of (\d+) packets", line)[0])
        assert lost < sent / 2, line
    assert not set(machines.everywhere("wg show wg0 public-key").values()) & set(keys.values())
    assert machines.pairs() == [True] * 6
    machines.unchanged(*words, DEPLOY)


@pytest.mark.slow
def test_what_somebody_changed_by_hand_is_put_back(machines: Star) -> None:
    machines.on(
        "w1",
        "ip addr del 10.200.0.1/24 dev wg0; ip addr add 10.200.0.77/24 dev wg0;"
        " ip link set wg0 mtu 1300; sysctl -qw net.ipv4.conf.wg0.rp_filter=1",
    )
    machines.on(
        "hub", "iptables -F UNDERLAY-F-wg0; wg set wg0 peer $(wg show wg0 peers | head -1) remove"
    )
    # a damaged file must not take anybody's peers away
    machines.on("w2", f"cp {FOLDER}/wg0.peers /tmp/kept; : > {FOLDER}/wg0.peers")
    refused = ssh.execute(machines.lab, "w2", "underlay-wireguard sync wg0")
    assert refused.code != 0
    assert "damaged, nothing was changed" in refused.stderr
    assert machines.on("w2", "wg show wg0 peers | wc -l") == "1"
    machines.applied(*machines.settings(), DEPLOY)
    assert machines.on("w1", "ip -o -4 addr show wg0").count("inet") == 1
    assert "10.200.0.1/24" in machines.on("w1", "ip -o -4 addr show wg0")
    assert machines.on("w1", "cat /sys/class/net/wg0/mtu") == "1420"
    # the hub has lost one spoke's session with its peer
    machines.joined("w1", "hub")
    machines.joined("w2", "hub")
    assert machines.pairs() == [True] * 6


@pytest.mark.slow
def test_a_change_that_cuts_ssh_is_taken_back_by_the_host(machines: Star) -> None:
    # this computer is 10.77.0.1 to the machines: the answers of w1 would go into the tunnel
    cut = machines.settings(nodes={"w2": {"pod_cidrs": ["10.77.0.0/28"]}}, guard_s=45)
    done = machines.pyinfra(*cut, "--limit", "w1", DEPLOY)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "10.77.0.1, this computer, lies in 10.77.0.0/28 behind wg0" in said
    assert "cut the way in for new connections, so the host took it back by itself" in said
    assert "10.77.0.0/28" not in machines.on("w1", f"ip route; cat {FOLDER}/wg0.*s")
    assert machines.pings("w1", ADDRESSES["w2"])
    machines.unchanged(*machines.settings(), DEPLOY)


@pytest.mark.slow
def test_a_guard_is_disarmed_by_a_new_connection(machines: Star) -> None:
    # the same network, but the way to this computer stays: a longer prefix leads there
    machines.on("w1", "ip route add 10.77.0.1/32 dev eth0")
    wide = machines.settings(nodes={"w2": {"pod_cidrs": ["10.77.0.0/28"]}}, guard_s=60)
    try:
        done = machines.pyinfra(*wide, "--limit", "w1", DEPLOY)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "came back through a new connection, guard disarmed" in said
        assert "10.77.0.0/28" in machines.on("w1", "ip route")
        assert machines.on("w1", "systemctl list-timers --all | grep -c underlay-guard || :") == "0"
        machines.applied(*machines.settings(), DEPLOY)
        assert "10.77.0.0/28" not in machines.on("w1", "ip route")
    finally:
        machines.on("w1", "ip route del 10.77.0.1/32 dev eth0")


@pytest.mark.slow
def test_the_hub_comes_back_after_a_reboot(machines: Star) -> None:
    done = machines.underlay("lab", "exec", "--on", "hub", "--", "reboot")
    assert done.returncode == 0, done.stderr
    # what spokes do on their own once they have something to say
    machines.joined("w1", "hub")
    machines.joined("w2", "hub")
    assert machines.pairs() == [True] * 6
    machines.unchanged(*machines.settings(), DEPLOY)


@pytest.mark.slow
def test_a_name_is_resolved_when_it_can_be(machines: Star) -> None:
    machines.on("w1", "sed -i /star.test/d /etc/hosts; systemctl restart underlay-wireguard@wg0")
    assert machines.on("w1", "systemctl is-active underlay-wireguard@wg0") == "active"
    assert "(none)" in machines.on("w1", "wg show wg0 endpoints")
    machines.on("w1", "echo 10.88.1.1 hub.star.test >> /etc/hosts")
    until = time.monotonic() + 120
    while "10.88.1.1:51820" not in machines.on("w1", "wg show wg0 endpoints"):
        assert time.monotonic() < until, machines.on("w1", "systemctl list-timers --all")
        time.sleep(2)
    assert machines.pings("w1", ADDRESSES["hub"])


def test_removal_leaves_nothing(machines: Star, before: dict[str, str]) -> None:
    words = machines.settings(state="absent")
    machines.applied(*words, DEPLOY)
    assert machines.everywhere(BASELINE) == before
    assert not machines.pings("w1", "10.88.2.2")
    machines.unchanged(*words, DEPLOY)


@pytest.mark.slow
def test_a_bad_day_of_one_spoke_leaves_it_as_it_was(machines: Star, before: dict[str, str]) -> None:
    for trouble in NO_ROOM:
        refused(trouble, machines, "w1", BASELINE, before["w1"], *machines.settings(), DEPLOY)
    # the clock is right again when w1 has no peer left that knows its later time
    with ahead(machines, "w1"):
        machines.applied(*machines.settings(), DEPLOY)
        assert machines.pairs() == [True] * 6
        machines.unchanged(*machines.settings(), DEPLOY)
        machines.applied(*machines.settings(state="absent"), DEPLOY)
    assert machines.everywhere(BASELINE) == before


def test_the_inventory_of_the_star_plans(machines: Star) -> None:
    plan = machines.underlay("wireguard", "plan", "inventories/star.py")
    assert plan.returncode == 0, plan.stderr
    assert "wireguard 1420 (-80) -> vxlan 1370 (-50)" in plan.stdout
