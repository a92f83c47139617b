"""Hostile values on real hosts: their sshd, their login shell, their kernel.

    controller -- bridge -- 3 hosts, each with /etc and /run of its own

What an injected command would leave is looked for in /run of every host and of the controller.
Programs that would reach beyond a namespace are stand-ins; every shell is real.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.hostile.walk import hostile
from tests.netns.conftest import BIN, Fleet

from underlay.features.kernel_modules.settings import KernelModules
from underlay.features.preflight.settings import Preflight

pytestmark = pytest.mark.netns

CANARY = Path(f"/run/uc{os.getpid()}")
DO = f">{CANARY}"
#: Each UTS namespace has one, and it takes any 64 bytes.
KEY = "kernel.domainname"
LONGEST = 64
#: The hub, and two spokes.
NAMES = (f"$({DO})", f"a';{DO};'b", f"`{DO}` *")
NETWORK = {"cni": "flannel", "pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/12"}


@pytest.fixture(autouse=True)
def nothing_is_run(fleet: Fleet) -> Iterator[None]:
    """After each: no file of an injected command."""
    yield
    assert not CANARY.exists(), "run on the controller"
    for address in fleet.hosts.addresses:
        assert CANARY.name not in fleet.remote(address, f"ls -A {CANARY.parent}").split(), address


def test_the_canary_is_seen(fleet: Fleet) -> None:
    address = fleet.hosts.addresses[2]
    fleet.remote(address, f"echo {NAMES[0]}")
    assert CANARY.name in fleet.remote(address, f"ls -A {CANARY.parent}").split()
    fleet.remote(address, f"rm {CANARY}")


def test_a_kernel_setting_is_what_was_written_to_the_letter(fleet: Fleet) -> None:
    values = [
        f"$({DO}) `{DO}` a;{DO}",
        f"';{DO};' \";{DO};\"",
        "-Zq {{ 7 * 7 }} %s%n \u00e9 * ~root",
    ]
    assert all(len(value.encode()) <= LONGEST for value in values)
    before = fleet.live(KEY)[KEY]
    fleet.declare({})
    fleet.named(own=[{"sysctl": {"values": {KEY: value}}} for value in values])
    assert fleet.changes() == 3
    assert [_live(fleet, address) for address in fleet.hosts.addresses] == values
    assert fleet.changes() == 0, "a second run finds the same text"
    fleet.named()
    fleet.declare({"state": "absent"})
    assert fleet.changes() == 3
    assert fleet.live(KEY)[KEY] == before


def _live(fleet: Fleet, address: str) -> str:
    return fleet.remote(address, f"cat /proc/sys/{KEY.replace('.', '/')}").rstrip("\n")


def test_what_the_kernel_refuses_leaves_nothing(fleet: Fleet) -> None:
    key = "net.ipv4.tcp_congestion_control"
    before = fleet.live(key)
    values = ("x" * 10_000, f"cubic';{DO};'", f"$({DO})")
    fleet.declare({})
    fleet.named(own=[{"sysctl": {"values": {key: value}}} for value in values])
    assert fleet.apply().returncode == 1
    assert fleet.live(key) == before
    for address in fleet.hosts.addresses:
        assert fleet.remote(address, "ls -A /etc/sysctl.d") == ""


def test_options_of_modules(fleet: Fleet) -> None:
    """No module is named, so that none of this computer is loaded."""
    given = [(value, raw) for _, value, raw in hostile(KernelModules, {}, DO)]
    assert {"--hostile", "x" * 10_000} <= {value for value, _ in given}
    own = [{"kernel_modules": raw} for _, raw in (given * 3)[:3]]
    fleet.declare({})
    fleet.named(own=own)
    done = fleet.apply(deploy="kernel_modules")
    assert done.returncode == 0, done.stdout + done.stderr
    written = fleet.remote(fleet.hosts.addresses[0], "cat /etc/modprobe.d/90-underlay.conf")
    assert written.startswith("#")
    fleet.settings(kernel_modules={"state": "absent"})
    fleet.named()
    assert fleet.apply(deploy="kernel_modules").returncode == 0


def test_names_of_hosts_and_names_that_are_asked_for(fleet: Fleet) -> None:
    given = hostile(Preflight, {}, DO)
    asked = [value for path, value, _ in given if path == "dns.outside[]"]
    told = [value for path, value, _ in given if path == "ports[].why"]
    assert f"$({DO})" in told
    fleet.settings(
        network=NETWORK,
        preflight={
            "dns": {"outside": asked, "cluster": asked, "server": "198.18.0.1"},
            "ports": [{"port": 31000 + n, "why": why} for n, why in enumerate(told)],
            "node_ports": [30000], "probe_seconds": 0.3,
        },
    )  # fmt: skip
    fleet.named(NAMES)
    done = fleet.run(str(BIN / "underlay"), "preflight", "inventory.py", "--format", "json")
    report = json.loads(done.stdout)
    assert [host["name"] for host in report["hosts"]] == list(NAMES), done.stderr
    assert {host["tool"].split()[0] for host in report["hosts"]} == {"python3"}
    ran = {check["id"] for check in report["checks"] if check["status"] in ("pass", "fail")}
    assert {"reach/ports", "dns/resolves"} <= ran


def _in_mounts(fleet: Fleet, number: int, text: str) -> None:
    """Shell text in the mount namespace of one host."""
    pid = str(fleet.hosts.daemons[number].pid)
    subprocess.run(["nsenter", "-t", pid, "-m", "sh", "-c", text], check=True)


#: Programs that would change this computer, or that it need not have.
STAND_INS = {
    "apt-get": "exit 1",
    "modprobe": "exit 0",
    "systemctl": 'case "$*" in *starter* | *is-active*wg*) exit 3 ;; *is-active*) echo active ;;'
    " *is-enabled*) echo enabled ;; esac",
    "wg": "case $1 in genkey) echo pr=;; pubkey) cat >/dev/null; echo pu= ;; esac",
    "swanctl": 'case $1 in --version) echo strongSwan swanctl 5.9.8 ;; --list-algs)'
    " for a in AES_CBC HMAC_SHA2_256_128 PRF_HMAC_SHA2_256 MODP_2048; do"
    ' echo "  $a[openssl]"; done ;; --initiate) exit 1 ;; esac',
}  # fmt: skip


@pytest.fixture
def alone(fleet: Fleet, tmp_path: Path) -> Iterator[Fleet]:
    """Hosts whose /etc is a copy, and which cannot reach the daemons of this computer."""
    with ExitStack() as stack:
        for number in range(len(fleet.hosts.addresses)):
            copy = tmp_path / f"etc{number}"
            _in_mounts(
                fleet, number,
                f"cp -a /etc {copy} && mkdir -p {copy}/swanctl/conf.d"
                f" && echo 'include conf.d/*.conf' > {copy}/swanctl/swanctl.conf"
                f" && mount --bind {copy} /etc",
            )  # fmt: skip
            stack.callback(_in_mounts, fleet, number, "umount -l /etc")
            for name, text in STAND_INS.items():
                stack.enter_context(fleet.hosts.program(number, name, text))
        yield fleet


def test_members_of_an_overlay(alone: Fleet) -> None:
    hub, *spokes = NAMES
    nodes: dict[str, Mapping[str, Any]] = {
        hub: {"address": "10.200.0.100", "endpoint": "198.18.0.10:51820"},
        **{
            name: {"address": f"10.200.0.{number}", "behind_nat": True}
            for number, name in enumerate(spokes, start=1)
        },
    }
    overlay = {
        "overlay_cidr": "10.200.0.0/24", "hubs": [hub], "accept_single_hub": True,
        "preshared_keys": True, "nodes": nodes,
    }  # fmt: skip
    alone.named(NAMES)
    alone.settings(wireguard={"overlays": {"wg0": overlay}})
    done = alone.apply(deploy="wireguard")
    said = done.stdout + done.stderr
    written = alone.remote(alone.hosts.addresses[0], "cat /etc/underlay/wireguard/wg0.peers")
    assert "[Peer]" in written, said
    alone.settings(wireguard={"overlays": {"wg0": {**overlay, "state": "absent"}}})
    done = alone.apply(deploy="wireguard")
    assert done.returncode == 0, done.stdout + done.stderr
    left = alone.remote(alone.hosts.addresses[0], "ls -A /etc/underlay /etc/systemd/system; :")
    assert "wireguard" not in left


def test_ends_of_a_link(alone: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = f"$({DO}) `{DO}` ';{DO};' \";{DO};"
    monkeypatch.setenv("HOSTILE_PSK", secret)
    one, node, other = NAMES
    link = {
        "ends": {
            "a": {"gateway": one, "address": "198.18.0.10", "networks": ["10.10.0.0/24"],
                  "nodes": [node], "inside": "198.18.0.10"},
            "b": {"gateway": other, "address": "198.18.0.12", "networks": ["10.20.0.0/24"]},
        },
        "psk": {"env": "HOSTILE_PSK"}, "keep_unproved": True,
        "proposals": ["aes256-sha256-modp2048"], "esp_proposals": ["aes256-sha256-modp2048"],
    }  # fmt: skip
    alone.named(NAMES)
    alone.settings(ipsec={"links": {"a-b": link}, "prove_s": 10})
    done = alone.apply(deploy="ipsec")
    said = done.stdout + done.stderr
    kept = alone.remote(
        alone.hosts.addresses[0], "cat /etc/swanctl/conf.d/secret-underlay-a-b.conf; :"
    )
    assert "secret" in kept, said
    assert secret not in said
