"""Modules and kernel settings on real machines: apply, apply again, reboot, decoy, remove."""

from __future__ import annotations

import json

import pytest
from tests.lab.machines import Machines

pytestmark = pytest.mark.lab

DEPLOYS = ("deploys/kernel_modules.py", "deploys/sysctl.py")
KEYS = ("net.core.somaxconn", "net.ipv4.tcp_fin_timeout")
READ = f"sysctl -n {' '.join(KEYS)}; cut -d' ' -f1 /proc/modules | grep -E '^ip_vs(_sh)?$' | sort"
TUNED = ["32768", "15", "ip_vs", "ip_vs_sh"]


@pytest.fixture(scope="module")
def before(machines: Machines) -> dict[str, str]:
    """Live values before the first deploy."""
    return machines.everywhere(f"sysctl -n {' '.join(KEYS)}")


def test_apply_then_apply_again_changes_nothing(machines: Machines, before: dict[str, str]) -> None:
    assert all(TUNED[0] not in text for text in before.values())
    first = machines.applied(*DEPLOYS)
    assert first["success"] > 0
    assert {text: None for text in machines.everywhere(READ).values()} == {"\n".join(TUNED): None}
    machines.unchanged(*DEPLOYS)


@pytest.mark.slow
def test_values_and_modules_survive_a_reboot(machines: Machines) -> None:
    done = machines.underlay("lab", "exec", "--on", "w2", "--", "reboot")
    assert done.returncode == 0, done.stderr
    assert machines.on("w2", READ).splitlines() == TUNED
    machines.unchanged(*DEPLOYS)


def test_the_report_finds_a_file_that_sorts_later(machines: Machines) -> None:
    decoy = "/etc/sysctl.d/99-decoy.conf"
    machines.on("w1", f"echo 'net.core.somaxconn = 128' > {decoy}")
    try:
        done = machines.underlay("sysctl-report", "inventory.py", "--host", "w1", "--json")
        assert done.returncode == 3, done.stderr
        rows = {row["key"]: row for row in json.loads(done.stdout)["hosts"][0]["settings"]}
        row = rows["net.core.somaxconn"]
        assert row["status"] == "boot-differs"
        assert [line["path"] for line in row["boot"] if line["wins"]] == [decoy]
        told = machines.pyinfra("--limit", "w1", "deploys/sysctl.py")
        assert "99-decoy.conf sorts after ours and sets 128 at boot" in told.stdout + told.stderr
    finally:
        machines.on("w1", f"rm {decoy}")


def test_a_refused_value_changes_nothing(machines: Machines) -> None:
    data = json.dumps({"values": {"net.ipv4.tcp_fin_timeout": 20, "net.ipv4.tcp_tw_reuse": 9}})
    done = machines.pyinfra("--limit", "w1", "--data", f"sysctl={data}", "deploys/sysctl.py")
    assert done.returncode == 1
    assert "tcp_tw_reuse: the kernel refused '9'" in done.stdout + done.stderr
    assert machines.on("w1", f"sysctl -n {KEYS[1]}") == "15"
    assert "somaxconn" in machines.on("w1", "cat /etc/sysctl.d/90-underlay.conf")


def test_removal_gives_everything_back(machines: Machines, before: dict[str, str]) -> None:
    words = ("--data", 'sysctl={"state": "absent"}', "--data", 'kernel_modules={"state": "absent"}')
    machines.applied(*words, "deploys/sysctl.py", "deploys/kernel_modules.py")
    assert machines.everywhere(f"sysctl -n {' '.join(KEYS)}") == before
    files = (
        "ls /etc/sysctl.d/90-underlay.conf /etc/modules-load.d/90-underlay.conf 2>/dev/null | wc -l"
    )
    assert set(machines.everywhere(files).values()) == {"0"}
    machines.unchanged(*words, *DEPLOYS)
