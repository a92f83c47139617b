"""The pre-flight over real SSH, on hosts that are namespaces: each fault is found, and no other.

n0 (control plane)   n1   n2        198.18.0.10, .11, .12, one bridge between them
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.netns.fleet import BIN, NETWORK, SETTINGS, Fleet, findings, fleet

pytestmark = pytest.mark.netns

ROOT = Path(__file__).resolve().parent.parent.parent
VXLAN = "8472/udp (flannel vxlan)"
DROPPED = "no answer, and nothing arrived: dropped on the way"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three hosts that every scenario leaves as it found them."""
    with fleet(tmp_path_factory.mktemp("fleet")) as found:
        yield found


@pytest.fixture
def three(shared: Fleet) -> Iterator[Fleet]:
    """The shared hosts, without rules, routes and limits of an earlier scenario."""
    shared.settings(**SETTINGS)
    yield shared
    for number in range(3):
        shared.hosts.on(number, "nft", "flush", "ruleset")


def rule(found: Fleet, number: int, hook: str, *rules: str) -> None:
    """Firewall rules on one host."""
    lines = "\n".join(rules)
    text = f"table inet t {{\nchain c {{\ntype filter hook {hook} priority 0;\n{lines}\n}}\n}}\n"
    found.hosts.on(number, "nft", text)


def no_listener(found: Fleet, number: int) -> bool:
    """Nothing but sshd listens, and no agent is alive."""
    ports = found.hosts.on(number, "ss", "-lntuH").stdout.splitlines()
    raw = found.hosts.on(number, "ss", "-lwH").stdout.split()
    return len(ports) <= 1 and not raw


def test_healthy_hosts_have_no_finding_and_keep_no_listener(three: Fleet) -> None:
    _, report = three.report()
    assert findings(report) == []
    assert report["seed"] is None
    passed = {c["id"]: c["findings"] for c in report["checks"] if c["status"] == "pass"}
    assert passed["reach/ports"][0]["message"] == "18 probes over 6 pairs"
    assert passed["mtu/path"][0]["message"] == "6 directions carry 1500"
    assert all(host["tool"].startswith("python3 ") for host in report["hosts"])
    assert all(no_listener(three, number) for number in range(3))


def test_a_udp_port_dropped_in_one_direction_only(three: Fleet) -> None:
    rule(three, 1, "input", "ip saddr 198.18.0.10 udp dport 8472 drop")
    code, report = three.report()
    assert code == 3
    assert findings(report) == [("fail", "reach/ports", f"{VXLAN} from n0 to n1: {DROPPED}")]


def test_a_reply_that_is_lost_is_told_from_a_request_that_is(three: Fleet) -> None:
    rule(three, 1, "output", "ip daddr 198.18.0.10 udp sport 8472 drop")
    _, report = three.report()
    lost = "it arrived, but the reply was lost on the way back"
    assert findings(report) == [("fail", "reach/ports", f"{VXLAN} from n0 to n1: {lost}")]


@pytest.mark.parametrize(
    ("action", "verdict"),
    [
        ("drop", DROPPED),
        ("reject", "refused on the way although it listens there: a firewall rejects it"),
        ("reject with tcp reset", "refused on the way although it listens there: a firewall"
         " rejects it"),
        ("reject with icmpx admin-prohibited", "a firewall answers that it is prohibited"),
    ],
)  # fmt: skip
def test_a_firewall_that_rejects_is_told_from_one_that_drops(
    three: Fleet, action: str, verdict: str
) -> None:
    rule(three, 2, "input", f"tcp dport 10250 {action}")
    _, report = three.report()
    assert findings(report) == [
        ("fail", "reach/ports", f"10250/tcp (kubelet) from n0 to n2: {verdict}")
    ]
    assert "10250" in three.hosts.on(2, "nft", "list", "ruleset").stdout


def test_one_dead_firewall_is_one_finding(three: Fleet) -> None:
    rule(three, 2, "input", "tcp dport 22 accept", "ct state established accept", "drop")
    _, report = three.report()
    text = (
        "n2 takes in nothing (6 of 6 probes, 10250/tcp (kubelet), 10256/tcp (kube-proxy health),"
        f" {VXLAN}, 30000/tcp (NodePort sample)): {DROPPED}"
    )
    assert findings(report) == [("fail", "reach/ports", text)]


def test_a_narrow_path_behind_wide_interfaces_without_icmp(three: Fleet) -> None:
    for number in range(3):
        rule(
            three,
            number,
            "input",
            "meta l4proto icmp drop",
            "ip saddr != 198.18.0.1 meta length > 1400 drop",
        )
    _, report = three.report()
    between = "between all nodes that use it (6 pairs)"
    assert sorted(findings(report)) == [
        ("fail", "mtu/path", f"path MTU 1400 {between}, but 1500 is expected"),
        ("warn", "reach/icmp", f"ICMP echo {between}: {DROPPED}"),
    ]


def test_large_datagrams_filtered_on_an_overlay_port(three: Fleet) -> None:
    """A filter of the port alone: echo requests of the same size pass."""
    rule(three, 1, "input", "udp dport 8472 meta length > 1000 drop")
    _, report = three.report()
    found = findings(report)
    assert [row[:2] for row in found] == [("fail", "mtu/path")]
    assert found[0][2].startswith("path MTU 1000 into n1 (2 of 2 peers)")


def test_ipip_blocked_while_udp_works(three: Fleet) -> None:
    three.settings(**{**SETTINGS, "network": {**NETWORK, "encapsulation": "ipip"}})
    rule(three, 1, "input", "meta l4proto 4 drop")
    _, report = three.report()
    text = f"IPIP (protocol 4) into n1 (2 of 2 peers): {DROPPED}"
    assert findings(report) == [("fail", "reach/ports", text)]


def test_a_pod_cidr_inside_a_lan_route(three: Fleet) -> None:
    three.hosts.on(1, "ip", "route", "add", "10.0.0.0/8", "via", "198.18.0.1")
    try:
        _, report = three.report("--no-probe")
    finally:
        three.hosts.on(1, "ip", "route", "del", "10.0.0.0/8")
    inside = "lies inside the route via eth0 to 10.0.0.0/8 on n1"
    assert findings(report) == [
        ("fail", "address/routes", f"pod CIDR 10.244.0.0/16 {inside}"),
        ("fail", "address/routes", f"Service CIDR 10.96.0.0/12 {inside}"),
    ]


def test_a_port_that_a_program_has_is_only_connected_to(three: Fleet) -> None:
    listen = "import socket,time; s=socket.create_server(('198.18.0.11', 10250)); time.sleep(99)"
    with three.hosts.running(listen, 1):
        _, report = three.report()
    assert findings(report) == []


def test_a_slow_host_is_probed_as_the_others_are(three: Fleet) -> None:
    """Two seconds before every command: no time of ours is over before it has answered."""
    with three.hosts.program(1, "sh", 'sleep 2; exec /bin/sh "$@"'):
        _, report = three.report()
    assert [host["lost"] for host in report["hosts"]] == [None] * 3
    passed = {c["id"]: c["findings"] for c in report["checks"] if c["status"] == "pass"}
    assert passed["reach/ports"][0]["message"] == "18 probes over 6 pairs"
    assert findings(report) == []


def test_sampled_pairs_and_their_seed(three: Fleet) -> None:
    code, report = three.report("--sample", "1", "--seed", "7")
    again = three.report("--sample", "1", "--seed", "7")[1]
    assert report["seed"] == 7
    assert report["matrices"][0]["pairs"] == again["matrices"][0]["pairs"]
    assert code in (0, 3)


RESOLVER = """
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("198.18.0.1", 53))
while True:
    data, who = s.recvfrom(512)
    head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
    s.sendto(head + data[12:] + bytes.fromhex("c00c00010001000000010004c6120001"), who)
"""


def test_a_resolver_that_answers_only_over_udp(three: Fleet) -> None:
    wanted = {**SETTINGS["preflight"], "dns": {"outside": ["registry.example"]}}
    three.settings(**{**SETTINGS, "preflight": wanted})
    with three.hosts.running(RESOLVER):
        _, report = three.report()
    text = "over TCP 198.18.0.1: nothing listens for registry.example from n0, n1, n2"
    assert findings(report) == [("fail", "dns/tcp", f"{text}, while UDP answers")]


def test_the_deploy_ends_hosts_with_all_that_is_wrong_and_changes_nothing(three: Fleet) -> None:
    rule(three, 1, "input", "udp dport 8472 drop")
    deploy = ROOT / "deploys/preflight.py"
    for words in (["--dry"], ["-y"]):
        call = three.hosts.inside(str(BIN / "pyinfra"), *words, "inventory.py", str(deploy))
        done = subprocess.run(
            call, cwd=three.folder, capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, "PYINFRA_PROGRESS": "off"},
        )  # fmt: skip
        told = done.stdout + done.stderr
        assert "Traceback" not in told
        if words == ["-y"]:
            assert done.returncode == 1
            assert f"reach/ports: {VXLAN} into n1 (2 of 2 peers): {DROPPED}; open the port" in told


def test_a_backup_is_taken_and_compared(three: Fleet) -> None:
    def underlay(*words: str) -> subprocess.CompletedProcess[str]:
        call = three.hosts.inside(str(BIN / "underlay"), *words)
        return subprocess.run(
            call, cwd=three.folder, capture_output=True, text=True, check=False, timeout=120
        )

    pid = three.hosts.daemons[1].pid
    place = Path(f"/proc/{pid}/root/etc/cni/net.d")
    place.mkdir()
    (place / "10-flannel.conflist").write_text("{}")
    try:
        assert findings(three.report("--no-probe")[1]) == [
            ("fail", "cni/backup", "network-backup: no backup of the CNI's configuration")
        ]
        assert underlay("backup", "inventory.py").returncode == 0
        assert findings(three.report("--no-probe")[1]) == []
        same = underlay("restore", "inventory.py", "--dry")
        assert same.returncode == 0, same.stdout
        (place / "10-flannel.conflist").write_text('{"a": 1}')
        other = underlay("restore", "inventory.py", "--dry")
        assert other.returncode == 3
        assert "write   /etc/cni/net.d/10-flannel.conflist: 2 lines differ" in other.stdout
        assert underlay("restore", "inventory.py").returncode == 2
    finally:
        (place / "10-flannel.conflist").unlink()
        place.rmdir()


#: A kernel with one module built in, one that can be loaded, and no other.
MODPROBE = """for last; do :; done
case $last in
    br_netfilter) echo "builtin br_netfilter" ;;
    dummy_a) echo "insmod /lib/modules/x/dummy_a.ko" ;;
    *) echo "modprobe: FATAL: Module $last not found" >&2; exit 1 ;;
esac"""


def test_modules_built_in_blacklisted_and_missing(three: Fleet) -> None:
    wanted = {"modules": ["dummy_a", "dummy_b"]}
    three.settings(**{**SETTINGS, "kernel_modules": wanted,
                      "network": {**NETWORK, "encapsulation": "none"}})  # fmt: skip
    place = Path(f"/proc/{three.hosts.daemons[2].pid}/root/etc/modprobe.d/local.conf")
    place.write_text("blacklist dummy-a\n")
    program = three.hosts.program
    try:
        with (
            program(0, "modprobe", MODPROBE),
            program(1, "modprobe", MODPROBE),
            program(2, "modprobe", MODPROBE),
        ):
            _, report = three.report("--no-probe")
    finally:
        place.unlink()
    (check,) = [check for check in report["checks"] if check["id"] == "kernel/modules"]
    release = os.uname().release
    assert [(f["status"], f["message"]) for f in check["findings"]] == [
        ("fail", f"dummy_b is missing in kernel {release} on n0, n1, n2"),
        ("warn", "dummy_a is blacklisted on n2"),
    ]


def test_a_host_is_asked_four_times_at_most(three: Fleet) -> None:
    before = [three.hosts.sessions(address) for address in three.hosts.addresses]
    three.report()
    after = [three.hosts.sessions(address) for address in three.hosts.addresses]
    assert [b - a for a, b in zip(before, after, strict=True)] == [4, 4, 4]


def test_the_way_to_the_api_server_costs_no_command_more(tmp_path: Path) -> None:
    files = {
        "/etc/kubernetes/admin.conf": "a kubeconfig of nobody, and a SECRET\n",
        "/var/lib/kubelet/config.yaml": "cgroupDriver: systemd\n",
    }
    with fleet(tmp_path, files={0: files}) as found:
        found.settings(**{**SETTINGS, "preflight": {**SETTINGS["preflight"], "monitoring": True}})
        before = found.hosts.sessions(found.hosts.addresses[0])
        done = found.run("--format", "json")
        assert found.hosts.sessions(found.hosts.addresses[0]) - before == 4
    assert "n0: /etc/kubernetes/admin.conf: not a kubeconfig; renew it" in done.stdout
    assert "SECRET" not in done.stdout + done.stderr


def test_twins_noise_and_a_hostile_name(tmp_path: Path) -> None:
    """Two hosts with one machine-id; 64 KiB of noise in one's /etc/hosts; markup as a name."""
    files = {
        0: {"/etc/machine-id": "aa\n"},
        1: {"/etc/machine-id": "aa\n", "/etc/hosts": "127.0.0.1 localhost\n" + "#\xff" * 32768},
        2: {"/etc/hostname": "x<b>$(id)`y\n"},
    }
    with fleet(tmp_path, files=files) as found:
        _, report = found.report()
        assert findings(report) == [
            ("fail", "node/identity", "n0, n1 have the same machine-id 'aa'")
        ]
        page = found.run("--format", "html").stdout
    assert "<b>$(id)" not in page


def test_a_node_that_goes_away_in_the_middle_of_the_run(tmp_path: Path) -> None:
    with fleet(tmp_path) as found:
        found.settings(**{**SETTINGS, "preflight": {**SETTINGS["preflight"], "probe_seconds": 4}})
        # keeps the probes of the others waiting, so that there is a middle
        rule(found, 1, "input", "udp dport 8472 drop")
        running = found.start("--format", "json", "--output", "report.json")
        folders = f"/proc/{found.hosts.daemons[2].pid}/root/run"
        until(lambda: bool(list(Path(folders).glob("underlay-preflight.*/go"))))
        subprocess.run(["ip", "-n", found.hosts.hub, "link", "set", "v2", "down"], check=True)
        found.hosts.daemons[2].kill()
        assert running.wait(timeout=110) == 5
        report = json.loads((found.folder / "report.json").read_text())
    rows = {host["name"]: host["lost"] for host in report["hosts"]}
    assert rows["n0"] is None
    assert rows["n1"] is None
    assert rows["n2"].startswith("lost while probing")
    found_ids = [row[1] for row in findings(report)]
    assert found_ids == ["node/answers", "reach/ports"]


def test_a_killed_controller_leaves_no_listener_within_thirty_seconds(tmp_path: Path) -> None:
    with fleet(tmp_path, 2) as found:
        running = found.start()
        root = Path(f"/proc/{found.hosts.daemons[1].pid}/root/run")
        until(lambda: bool(list(root.glob("underlay-preflight.*"))))
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert not no_listener(found, 1), "the agent was there when the controller was killed"
        began = time.monotonic()
        until(lambda: all(no_listener(found, number) for number in range(2)), 30)
        assert time.monotonic() - began < 30
        until(lambda: not list(root.glob("underlay-preflight.*")), 3)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to come about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.05)
