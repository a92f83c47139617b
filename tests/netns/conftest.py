"""Hosts in namespaces for one file of tests, and a project that manages them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench.hosts import HUB, Hosts, hosts

BIN = Path(sys.executable).parent


class Fleet:
    """The hosts, and a project of plain pyinfra files for them."""

    def __init__(self, found: Hosts, folder: Path) -> None:
        self.hosts = found
        self.folder = folder
        self.section = "sysctl"

    def declare(self, settings: Mapping[str, Any], section: str = "sysctl") -> None:
        """Write group_data/all.py, for the deploy that is named like the section."""
        self.section = section
        self.settings(**{section: settings})

    def settings(self, **sections: Mapping[str, Any]) -> None:
        """The same, of any sections."""
        text = "".join(f"{name} = {found!r}\n" for name, found in sections.items())
        (self.folder / "group_data/all.py").write_text(text)

    def named(self, names: Sequence[str] = (), own: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write inventory.py: names of the hosts, by default their addresses, and own data."""
        login = {
            "ssh_user": "root", "ssh_key": str(self.hosts.key),
            "ssh_known_hosts_file": str(self.hosts.known_hosts),
        }  # fmt: skip
        rows = [
            (name, {**login, "ssh_hostname": address, **more})
            for name, address, more in zip(
                names or self.hosts.addresses, self.hosts.addresses,
                own or [{}] * len(self.hosts.addresses), strict=True,
            )
        ]  # fmt: skip
        (self.folder / "inventory.py").write_text(f"workers = {rows!r}\n")

    def command(self, *words: str, deploy: str = "") -> list[str]:
        """`pyinfra -y inventory.py deploys/sysctl.py`, as a person types it."""
        path = f"deploys/{deploy or self.section}.py"
        return self.hosts.inside(str(BIN / "pyinfra"), "-y", *words, "inventory.py", path)

    def apply(self, *words: str, deploy: str = "") -> subprocess.CompletedProcess[str]:
        """Run a deploy, by default the one of the section that was declared last."""
        return self._run(self.command(*words, deploy=deploy))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in the project, where the hosts can be reached."""
        return self._run(self.hosts.inside(*command))

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True,
            env={**os.environ, "PYINFRA_PROGRESS": "off"}, timeout=60,
        )  # fmt: skip

    def changes(self) -> int:
        """Apply, and tell how many operations changed something."""
        done = self.apply("--json")
        assert done.returncode == 0, done.stdout + done.stderr
        totals = json.loads(done.stdout.splitlines()[-1])["results"]["totals"]
        return int(totals["success"])

    def remote(self, address: str, text: str) -> str:
        """What a command on one host prints."""
        done = subprocess.run(
            self.hosts.inside(*self.hosts.ssh(address, text)), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def live(self, *keys: str) -> dict[str, set[str]]:
        """The values of settings on all hosts, in one command per host."""
        paths = " ".join(f"/proc/sys/{key.replace('.', '/')}" for key in keys)
        found: dict[str, set[str]] = {key: set() for key in keys}
        for address in self.hosts.addresses:
            lines = self.remote(address, f"grep -h '' {paths}").splitlines()
            for key, line in zip(keys, lines, strict=True):
                found[key].add(" ".join(line.split()))
        return found


@contextmanager
def managed(folder: Path, count: int, hub: str = HUB) -> Iterator[Fleet]:
    """So many hosts with an sshd each, and a project of their own. hub: prefix of their names."""
    project = folder / "project"
    words = [str(BIN / "underlay"), "init", str(project)]
    subprocess.run(words, check=True, capture_output=True)
    for path in project.glob("group_data/*.py"):
        path.unlink()
    with hosts(count, folder, hub=hub) as found:
        made = Fleet(found, project)
        made.named()
        yield made


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three hosts."""
    with managed(tmp_path_factory.mktemp("netns"), 3) as found:
        yield found
