"""How long a full pre-flight takes, every pair of hosts included.

    python -m bench.preflight [--hosts 10 25 50 100] [--mesh 64]

Each row is compared with one bare SSH command per host, all at once, in the same run, because a
machine's speed changes by the minute. Needs root; the hosts are namespaces of this computer and
share its cores, which real hosts do not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.hosts import Hosts, hosts

BIN = Path(sys.executable).parent
SETTINGS = """
network = {{"cni": "flannel", "pod_cidr": "10.0.0.0/9", "service_cidr": "10.128.0.0/12"}}
preflight = {{"monitoring": False, "mesh_up_to": {mesh}, "probe_seconds": 4}}
"""
#: Seconds that a pre-flight of this many hosts may take on two cores.
TARGET = (50, 60.0)


@dataclass(frozen=True)
class Row:
    """One size: seconds of a bare command per host, of the pre-flight, and what it tried."""

    hosts: int
    ssh: float
    seconds: float
    pairs: int
    probes: int

    def line(self) -> str:
        """As in docs/preflight.md."""
        ratio, each = self.seconds / self.ssh, self.seconds / self.hosts
        return (
            f"| {self.hosts} | {self.ssh:.1f} | {self.seconds:.1f} | {ratio:.1f} | {each:.2f} |"
            f" {self.pairs} | {self.probes} |"
        )


def main() -> int:
    """Measure, print the table; exit code 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--mesh", type=int, default=64, help="hosts with all pairs tried, at most")
    options = parser.parse_args()
    print("| hosts | one SSH command, s | pre-flight, s | ratio | s per host | pairs | probes |")
    print("|---|---|---|---|---|---|---|")
    missed = False
    for count in options.hosts:
        row = _measure(count, options.mesh)
        print(row.line(), flush=True)
        missed = missed or (count == TARGET[0] and row.seconds > TARGET[1])
    return 1 if missed else 0


def _measure(count: int, mesh: int) -> Row:
    with (
        neighbours(count),
        tempfile.TemporaryDirectory() as name,
        hosts(count, Path(name), hub="underlay-bp") as found,
    ):
        folder = Path(name)
        data = {
            "ssh_user": "root", "ssh_key": str(found.key),
            "ssh_known_hosts_file": str(found.known_hosts),
        }  # fmt: skip
        rows = [(address, data) for address in found.addresses]
        (folder / "inventory.py").write_text(
            f"control_plane = {rows[:3]!r}\nworkers = {rows[3:]!r}\n"
        )
        (folder / "group_data").mkdir()
        (folder / "group_data/all.py").write_text(SETTINGS.format(mesh=mesh))
        _bare(found)
        began = time.monotonic()
        _bare(found)
        ssh = time.monotonic() - began
        began = time.monotonic()
        report = _preflight(folder, found)
        seconds = time.monotonic() - began
    cells = [pair for grid in report["matrices"][1:] for pair in grid["pairs"]]
    bad = [f for c in report["checks"] if c["id"] in ("reach/ports", "mtu/path", "node/answers")
           for f in c["findings"] if f["status"] != "pass"]  # fmt: skip
    if bad:
        raise SystemExit(f"{count} hosts: the healthy network has findings: {bad[:3]}")
    return Row(count, ssh, seconds, len(report["matrices"][0]["pairs"]), len(cells))


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Room for every pair: namespaces share one neighbour table of 1024 entries by default."""
    path = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
    before = path.read_text()
    path.write_text(str(max(int(before), 4 * count * count)))
    try:
        yield
    finally:
        path.write_text(before)


def _bare(found: Hosts) -> None:
    def one(address: str) -> None:
        subprocess.run(found.inside(*found.ssh(address, "true")), check=True)

    with ThreadPoolExecutor(max_workers=len(found.addresses)) as pool:
        list(pool.map(one, found.addresses))


def _preflight(folder: Path, found: Hosts) -> dict:  # type: ignore[type-arg]
    command = [str(BIN / "underlay"), "preflight", "inventory.py", "--format", "json"]
    done = subprocess.run(
        found.inside(*command), cwd=folder, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        raise SystemExit(done.stderr)
    report: dict = json.loads(done.stdout)  # type: ignore[type-arg]
    return report


if __name__ == "__main__":
    sys.exit(main())
