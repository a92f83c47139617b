"""Namespace hosts with a project beside them, and a pre-flight of theirs."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.hosts import Hosts, hosts

BIN = Path(sys.executable).parent

#: Fleets of one run are there at the same time.
_numbers = itertools.count()
#: What this computer cannot have, and no scenario is about.
HOUSE = {"time/synchronised", "kernel/modules", "host/firewall", "host/networkd"}


@dataclass(frozen=True)
class Fleet:
    """Hosts n0, n1, ... and the folder of their inventory."""

    hosts: Hosts
    folder: Path

    def command(self, *words: str) -> list[str]:
        """The command line of a pre-flight of these hosts."""
        underlay = str(BIN / "underlay")
        return self.hosts.inside(underlay, "preflight", "inventory.py", *words)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A pre-flight as a user types it."""
        return subprocess.run(
            self.command(*words), cwd=self.folder, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip

    def report(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON report."""
        done = self.run("--format", "json", *words)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def settings(self, **sections: Mapping[str, Any]) -> None:
        """Write group_data/all.py."""
        text = "".join(f"{name} = {value!r}\n" for name, value in sections.items())
        (self.folder / "group_data/all.py").write_text(text)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """The same, in the background."""
        return subprocess.Popen(
            self.command(*words), cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip


@contextmanager
def fleet(
    folder: Path, count: int = 3, files: Mapping[int, Mapping[str, str]] | None = None
) -> Iterator[Fleet]:
    """So many hosts, the first of them the control plane."""
    hub = f"underlay-t{os.getpid()}-{next(_numbers)}"
    with hosts(count, folder, hub=hub, files=files) as found:
        data = {
            "ssh_user": "root", "ssh_key": str(found.key),
            "ssh_known_hosts_file": str(found.known_hosts),
        }  # fmt: skip
        rows = [
            (f"n{number}", {"ssh_hostname": address, **data})
            for number, address in enumerate(found.addresses)
        ]
        (folder / "group_data").mkdir()
        (folder / "inventory.py").write_text(
            f"control_plane = {rows[:1]!r}\nworkers = {rows[1:]!r}\n"
        )
        made = Fleet(found, folder)
        made.settings(**SETTINGS)
        yield made


NETWORK = {"cni": "flannel", "pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/12"}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "network": NETWORK,
    "preflight": {"node_ports": [30000], "probe_seconds": 0.8, "monitoring": False},
}


def findings(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(status, id, message) of everything that is no pass and that the scenario is about."""
    return [
        (finding["status"], check["id"], finding["message"])
        for check in report["checks"]
        for finding in check["findings"]
        if finding["status"] != "pass" and check["id"] not in HOUSE
    ]
