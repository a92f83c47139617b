"""The pre-flight of a real cluster: what it finds, for a change too, its reports and its backup.

    cp1 (control plane)   w1   w2        one L2, kube-proxy and a kubelet on each, nobody watches it

What the lab does not have is asserted like everything else: each finding by name, and no other.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.lab.machines import Machines

pytestmark = pytest.mark.lab

#: Emulated machines answer late: a run is repeated before it is believed.
TRIES = 3
SETTINGS = {
    "network": {"node_cidr": "10.77.0.0/24"}, "sysctl": {"profiles": []},
    "kernel_modules": {"sets": []}, "preflight": {"probe_seconds": 5, "backup": "nowhere"},
}  # fmt: skip
DATA = [
    word for key, value in SETTINGS.items() for word in ("--data", f"{key}={json.dumps(value)}")
]
MONITORING = [
    ("warn", "monitoring/present", "not found in the cluster: the Prometheus operator's CRDs,"
     " node-exporter, kube-state-metrics"),
    ("warn", "monitoring/present", "metrics of CoreDNS were not read: there is no Service kube-dns"
     " or coredns"),
]  # fmt: skip
BACKUP = ("fail", "cni/backup", "nowhere: no backup of the CNI's configuration")
#: No machine of the lab has a time daemon, and a busy host may take seconds to read a clock.
SKIP = [
    word
    for check in ("time/synchronised", "time/skew")
    for word in ("--skip", check, "--reason", "the lab has no time daemon")
]
MODE = "curl -s -m 5 http://127.0.0.1:10249/proxyMode"
MODES = ("iptables", "ipvs", "nftables")


def _findings(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (finding["status"], check["id"], finding["message"])
        for check in report["checks"]
        for finding in check["findings"]
        if finding["status"] != "pass"
    ]


def _report(machines: Machines, path: Path, *words: str) -> tuple[int, list[tuple[str, str, str]]]:
    done = machines.underlay(
        *words, "inventory.py", *DATA, "--format", "json", "--output", str(path)
    )
    assert path.exists(), done.stderr
    return done.returncode, _findings(json.loads(path.read_text()))


def _sorted(machines: Machines, path: Path, *words: str) -> tuple[int, list[tuple[str, str, str]]]:
    code, found = _report(machines, path, *words)
    return code, sorted(found)


def _written(machines: Machines, path: Path, command: str, form: str, *words: str) -> int:
    given = ("--format", form, "--output", str(path))
    done = machines.underlay(command, "inventory.py", *DATA, *words, *given)
    assert path.exists(), done.stderr
    return done.returncode


def _settled(look: Callable[[], Any], wanted: Any) -> None:
    seen = [look()]
    while seen[-1] != wanted and len(seen) < TRIES:
        seen.append(look())
    assert seen[-1] == wanted


def test_what_the_cluster_lacks_is_found_and_nothing_else(
    machines: Machines, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    _settled(
        lambda: _sorted(machines, path, "preflight", *SKIP), (3, sorted([*MONITORING, BACKUP]))
    )
    report = json.loads(path.read_text())
    told = {c["id"]: [f["message"] for f in c["findings"]] for c in report["checks"]}
    assert told["mtu/path"] == ["6 directions carry 1500"]
    passed = {c["id"] for c in report["checks"] if c["status"] == "pass"}
    assert {"kernel/neighbours", "kube-proxy/one-mode", "node/identity"} <= passed


def test_a_change_is_checked_against_the_mode_that_runs(machines: Machines, tmp_path: Path) -> None:
    (mode,) = set(machines.everywhere(MODE).values())
    other = next(name for name in MODES if name != mode)
    third = next(name for name in MODES if name not in (mode, other))
    words = ("preflight", *SKIP, "--no-probe", "--for")
    path = tmp_path / "report.json"
    text = f"kube-proxy runs in mode {mode} on every node, the change starts from {other}"
    wrong = sorted([*MONITORING, ("fail", "kube-proxy/one-mode", text)])
    _settled(lambda: _sorted(machines, path, *words, f"{other}->{third}"), (3, wrong))
    page = tmp_path / "network.html"
    words = (*SKIP, "--no-probe", "--for", f"{mode}->{other}", "--fail-on", "warn")
    _settled(lambda: _written(machines, page, "preflight", "html", *words), 4)
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert all(name in text for name in machines.names)
    assert "not found in the cluster" in text


def test_verify_passes_and_its_report_loads(machines: Machines, tmp_path: Path) -> None:
    path = tmp_path / "verify.xml"
    _settled(lambda: _written(machines, path, "verify", "junit", *SKIP, "--no-probe"), 0)
    suite = ElementTree.parse(path).getroot()  # noqa: S314 - we wrote it
    assert int(suite.get("tests", "0")) > 20
    assert suite.get("failures") == "0"


def test_a_backup_is_taken_and_compared(machines: Machines, tmp_path: Path) -> None:
    folder = str(tmp_path / "backup")
    done = machines.underlay("backup", "inventory.py", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "backup/cluster/nodes.yaml").exists()
    words = ("restore", "inventory.py", "--dry", "--from", folder)
    same = machines.underlay(*words)
    assert (same.returncode, same.stdout.splitlines()) == (
        0, [f"{name}: as in the backup" for name in (*machines.names, "cluster")]
    ), same.stdout + same.stderr  # fmt: skip
    # a name that no container runtime takes for a configuration
    path = "/etc/cni/net.d/zz-left.txt"
    machines.write("w1", path, "left by hand")
    try:
        other = machines.underlay(*words)
    finally:
        machines.on("w1", f"rm {path}")
    assert other.returncode == 3
    assert f"remove  {path}: it was not there" in other.stdout
