"""Two sites on the wire, joined by IPsec, and back to nothing.

    pod - a1 --- a-gw ==transit== b-gw --- b1       the pod has 10.244.1.2
        10.10.0.0/24  192.0.2.0/24  10.20.0.0/24

The pod is a namespace with a masquerading rule before it, as flannel makes one.
UNDERLAY_TEST_SITES names a lab of topology two-sites that runs already, else one is made here.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.bad_day import NO_ROOM, ahead, refused
from tests.lab.machines import Machines, own_lab, pings

from underlay.lab import links, ssh

pytestmark = pytest.mark.lab

DEPLOY = "deploys/ipsec.py"
PSK = "a key with spaces, 'quotes' and $signs"
POD = "10.244.1.2"
#: What of a machine the link could change.
BASELINE = (
    "ip -4 rule; ip -4 route show table 218 2>/dev/null; ip -4 route; iptables -S;"
    " nft list tables 2>/dev/null | grep underlay; iptables -t nat -S;"
    " iptables -t mangle -S; sysctl -n net.ipv4.ip_forward;"
    " ls /etc/systemd/system /etc/swanctl/*; ls /etc/underlay /usr/local/sbin 2>&1;"
    " systemctl is-active strongswan; systemctl is-enabled strongswan;"
    " ip -o link show type xfrm; ip xfrm policy; ip xfrm state; :"
)
#: Every argument of every process, and every secret that others can read, many times a second.
SAMPLER = """
import os, stat, time
from pathlib import Path
seen = set()
with open("/tmp/sampled", "w", buffering=1) as out:
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try: text = Path("/proc", pid, "cmdline").read_bytes().replace(b"\\0", b" ").decode()
            except OSError: continue
            if text not in seen: seen.add(text); print(text, file=out)
        for path in Path("/etc/swanctl/conf.d").glob("*secret-underlay*"):
            try: mode = path.stat().st_mode
            except OSError: continue
            if mode & 0o077: print("OPEN", path, file=out)
        time.sleep(0.02)
"""


class Sites(Machines):
    """The lab with inventories/two_sites.py, and settings of one test over it."""

    def command(self, *words: str) -> list[str]:
        """The command line of pyinfra with the inventory of the two sites."""
        return [
            "inventories/two_sites.py" if word == "inventory.py" else word
            for word in super().command(*words)
        ]

    def environment(self) -> dict[str, str]:
        """The key comes from a variable."""
        return {**super().environment(), "UNDERLAY_EXAMPLE_PSK": PSK}

    def settings(self, *, far: dict[str, Any] | None = None, **changes: Any) -> tuple[str, ...]:
        """`--data` for the section; far: settings of the far end, which is then not ours."""
        ends: dict[str, dict[str, Any]] = {
            "a": {
                "gateway": "a-gw", "address": "192.0.2.1", "nodes": ["a1"], "inside": "10.10.0.1",
                "networks": ["10.10.0.0/24", "10.244.0.0/16"],
            },
            "b": {
                "gateway": "b-gw", "address": "192.0.2.2", "nodes": ["b1"], "inside": "10.20.0.1",
                "networks": ["10.20.0.0/24", "10.245.0.0/16"],
            },
        }  # fmt: skip
        limit: tuple[str, ...] = ()
        if far is not None:
            ends["b"] = {
                "address": "192.0.2.2", "networks": ["10.20.0.0/24", "10.245.0.0/16"], **far,
            }  # fmt: skip
            limit = ("--limit", "a-gw", "--limit", "a1")
        link = {"ends": ends, "psk": {"env": "UNDERLAY_EXAMPLE_PSK"}, **changes}
        return ("--data", f"ipsec={json.dumps({'links': {'a-b': link}, 'prove_s': 90})}", *limit)

    def sessions(self, gateway: str = "a-gw") -> list[str]:
        """Names that only a new key exchange changes."""
        text = self.on(gateway, "swanctl --list-sas --raw")
        return re.findall(r"initiator-spi=(\w+)", text)

    def from_pod(self) -> bool:
        """Whether the pod reaches the far node; one of a few attempts counts."""
        return any(
            ssh.execute(
                self.lab, "a1", "ip netns exec pod ping -c 3 -i 0.3 -W 3 10.20.0.11"
            ).code == 0
            for _ in range(3)
        )  # fmt: skip

    def comes_back(self, seconds: float = 240) -> None:
        """Wait until the pod reaches the far node again."""
        self.until(self.from_pod, seconds)

    def until(self, true: Callable[[], bool], seconds: float = 240) -> None:
        """Wait for something; what the gateways say when it does not come."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.everywhere(
                "swanctl --list-sas 2>&1; ip xfrm policy; iptables-save;"
                " journalctl -q --no-pager -n 40 -u strongswan -u underlay-ipsec-refresh; :"
            )
            time.sleep(2)


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    """The two sites."""
    yield from own_lab("ipsec-scenarios", Sites, "UNDERLAY_TEST_SITES", topology="two-sites")


@pytest.fixture(scope="module", autouse=True)
def before(sites: Sites) -> dict[str, str]:
    """A pod on a1, masqueraded as by flannel; then every machine before the first deploy."""
    pod(sites)
    sites.on("a-gw", "ip route replace 10.244.1.0/24 via 10.10.0.11")
    return sites.everywhere(BASELINE)


def pod(sites: Sites) -> None:
    """Make the pod; nothing of it survives a reboot of a1."""
    masquerade = "POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE"
    sites.on(
        "a1",
        "! ip netns exec pod true 2>/dev/null || exit 0; ip netns add pod"
        " && ip link add cni7 type veth peer name eth0 netns pod"
        f" && ip addr add 10.244.1.1/24 dev cni7 && ip link set cni7 up"
        f" && ip -n pod addr add {POD}/24 dev eth0 && ip -n pod link set eth0 up"
        " && ip -n pod route add default via 10.244.1.1 && sysctl -qw net.ipv4.ip_forward=1"
        f" && iptables -t nat -A {masquerade}",
    )


def test_before_transit_sees_plaintext_and_the_far_side_sees_the_node(sites: Sites) -> None:
    with sites.sniffing("transit") as seen:
        assert sites.from_pod()
    assert any("10.10.0.11 > 10.20.0.11: ICMP echo request" in line for line in seen)


def test_apply_encrypts_and_shows_no_secret(sites: Sites) -> None:
    gateways = ("a-gw", "b-gw")
    for name in gateways:
        start = f"setsid python3 -c {shlex.quote(SAMPLER)} >/dev/null 2>&1 </dev/null & echo $!"
        sites.on(name, f"{start} > /tmp/sampler.pid")
    done = sites.pyinfra(*sites.settings(), "-vvv", "--debug", "--diff", DEPLOY)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "a-b: established with 192.0.2.2 (net)" in said
    shapes = [PSK, PSK.encode().hex(), base64.b64encode(PSK.encode()).decode()]
    for name in gateways:
        sites.on(name, "kill $(cat /tmp/sampler.pid)")
        sampled = sites.on(name, "cat /tmp/sampled; rm /tmp/sampled")
        assert "sh -c" in sampled
        assert not re.search("^OPEN /", sampled, re.MULTILINE)
        logged = sites.on(name, "journalctl --no-pager; cat /var/lib/underlay/*/*.jsonl")
        file = "/etc/swanctl/conf.d/secret-underlay-a-b.conf"
        assert sites.on(name, f"stat -c %a {file}") == "600"
        text = sites.on(name, f"cat {file}")
        assert PSK.encode().hex() in text
        # what goes to the host is the whole file in base64
        sent = base64.b64encode((text + "\n").encode()).decode()
        for secret in [*shapes, sent, sent[40:80]]:
            assert secret not in said, name
            assert secret not in sampled, name
            assert secret not in logged, name


def test_only_esp_on_transit_and_the_pod_keeps_its_address(sites: Sites) -> None:
    with sites.sniffing("transit") as transit, sites.sniffing("site-b") as far:
        assert sites.from_pod()
        assert pings(sites, "a1", "10.20.0.11")
        assert pings(sites, "b1", POD)
    packets = [line for line in transit if " IP " in line]
    assert sum("ESP(spi=" in line for line in packets) >= 12, packets
    strange = [
        line
        for line in transit
        if not re.search(r"ESP\(spi=|\.500 > [0-9.]+\.500:|isakmp| ARP, | IP6 ", line)
    ]
    assert not strange, strange[:5]
    assert not [line for line in transit if "10.244." in line or "10.10.0." in line]
    assert any(f"{POD} > 10.20.0.11: ICMP echo request" in line for line in far), far[:9]


def test_a_second_apply_changes_nothing_and_keeps_the_association(sites: Sites) -> None:
    old = sites.sessions()
    assert len(old) == 1
    sites.unchanged(*sites.settings(), DEPLOY)
    assert sites.sessions() == old


def test_sizes_are_what_the_cipher_leaves(sites: Sites) -> None:
    # the smallest that a proposal of the default may leave; 28 bytes are the headers of ICMP
    sites.on("a1", f"ping -c 2 -W 3 -M do -s {1438 - 28} 10.20.0.11")
    refused = sites.on("a1", f"ping -c 1 -W 3 -M do -s {1439 - 28} 10.20.0.11 2>&1", check=False)
    assert "message too long, mtu=1438" in refused.lower()
    sites.on(
        "b1", "setsid socat TCP-LISTEN:4242,reuseaddr,fork EXEC:cat >/dev/null 2>&1 </dev/null &"
    )
    with sites.sniffing("site-b") as seen:
        echo = "echo hello | ip netns exec pod socat -t 5 - TCP:10.20.0.11:4242,connect-timeout=20"
        assert sites.on("a1", echo) == "hello"
    sites.on("b1", "kill $(pidof socat)")
    sizes = re.findall(r"Flags \[S\.?\].*?mss (\d+)", "\n".join(seen))
    # the pod's interface would say 1460; the answer passes the other gateway only later
    assert sizes[0] == "1398", seen


def test_a_masquerading_rule_put_before_ours_does_not_stay_there(sites: Sites) -> None:
    sites.on("a1", "iptables -t nat -I POSTROUTING -s 10.244.0.0/16 -j MASQUERADE")
    try:
        sites.until(
            lambda: "IPSEC-NAT" in sites.on("a1", "iptables -t nat -S POSTROUTING | sed -n 2p"), 90
        )
    finally:
        sites.on("a1", "iptables -t nat -D POSTROUTING -s 10.244.0.0/16 -j MASQUERADE")


def test_a_wrong_key_is_named_and_the_old_link_comes_back(sites: Sites, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("not the key of the far side\n")
    done = sites.pyinfra(*sites.settings(far={}, psk={"file": str(wrong)}), DEPLOY)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "a-b: child net cannot be established with 192.0.2.2: authentication failed" in said
    assert "ipsec.links.a-b.psk" in said
    assert "not the key" not in said
    sites.comes_back()
    sites.unchanged(*sites.settings(), DEPLOY)


@pytest.mark.slow
def test_another_key_exchange_of_children_is_found_at_once(sites: Sites) -> None:
    # the first child comes with the connection and would hide it until its first renewal
    changed = sites.settings(far={}, esp_proposals=["aes256-sha256-modp3072"])
    done = sites.pyinfra(*changed, DEPLOY)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "a-b: child net cannot be established with 192.0.2.2" in said
    assert "esp_proposals aes256-sha256-modp3072" in said
    sites.comes_back()
    sites.unchanged(*sites.settings(), DEPLOY)


def test_the_link_survives_a_cut_and_a_gateway_that_reboots(sites: Sites) -> None:
    links.set_link(sites.lab, "transit", up=False)
    time.sleep(5)
    assert not pings(sites, "b1", POD)
    links.set_link(sites.lab, "transit", up=True)
    sites.comes_back()
    reboot(sites, "b-gw")
    sites.comes_back()
    sites.unchanged(*sites.settings(), DEPLOY)


def test_a_far_side_that_ends_a_link_brings_no_older_policy_back(sites: Sites) -> None:
    # between a gateway's reading of new files and its own end of the link, the far side may end it
    sites.until(lambda: len(sites.sessions("b-gw")) == 1)
    file = "/etc/swanctl/conf.d/underlay-a-b.conf"
    load = "swanctl --load-conns >/dev/null"
    sites.on("b-gw", f"cp {file} /tmp/kept; sed -i '/local_ts/s|$|,10.99.0.0/24|' {file}; {load}")
    sites.on("a-gw", "swanctl --terminate --ike a-b --timeout 30")
    policies = sites.on("b-gw", "swanctl --list-pols")
    sites.on("b-gw", f"cp -p /tmp/kept {file}; rm /tmp/kept; {load}")
    assert "10.99.0.0/24" in policies
    sites.comes_back()


@pytest.mark.slow
def test_the_other_gateway_reboots_too(sites: Sites) -> None:
    reboot(sites, "a-gw")
    sites.on("a-gw", "ip route replace 10.244.1.0/24 via 10.10.0.11")
    sites.comes_back()
    sites.unchanged(*sites.settings(), DEPLOY)


@pytest.mark.slow
def test_two_minutes_without_transit(sites: Sites) -> None:
    links.set_link(sites.lab, "transit", up=False)
    time.sleep(120)
    links.set_link(sites.lab, "transit", up=True)
    sites.comes_back()


def test_route_mode_carries_the_same(sites: Sites) -> None:
    words = sites.settings(mode="route", esp_proposals=["aes256gcm16-ecp384"])
    sites.applied(*words, DEPLOY)
    assert "mtu 1446" in sites.on("a-gw", "ip link show xf-a-b")
    with sites.sniffing("transit") as seen:
        sites.comes_back()
    assert any("ESP(spi=" in line for line in seen)
    assert not [line for line in seen if "10.244." in line or "10.10.0." in line]
    sites.unchanged(*words, DEPLOY)


def test_removal_leaves_nothing(sites: Sites, before: dict[str, str]) -> None:
    words = sites.settings(state="absent")
    sites.applied(*words, DEPLOY)
    assert sites.everywhere(BASELINE) == before
    with sites.sniffing("transit") as seen:
        assert sites.from_pod()
    assert any("ICMP echo request" in line for line in seen)
    sites.unchanged(*words, DEPLOY)


@pytest.mark.slow
def test_a_bad_day_of_one_gateway_leaves_it_as_it_was(sites: Sites, before: dict[str, str]) -> None:
    for trouble in NO_ROOM:
        refused(trouble, sites, "a-gw", BASELINE, before["a-gw"], *sites.settings(), DEPLOY)
        assert sites.from_pod()
    with ahead(sites, "a-gw"):
        sites.applied(*sites.settings(), DEPLOY)
        sites.comes_back()
        sites.unchanged(*sites.settings(), DEPLOY)
    sites.comes_back()
    sites.unchanged(*sites.settings(), DEPLOY)
    sites.applied(*sites.settings(state="absent"), DEPLOY)
    assert sites.everywhere(BASELINE) == before


def reboot(sites: Sites, name: str) -> None:
    """Reboot one machine and wait for it."""
    done = sites.underlay("lab", "exec", "--on", name, "--", "reboot")
    assert done.returncode == 0, done.stderr
