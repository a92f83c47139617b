"""Projects made for one test, and the two commands a user runs in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.listener import Listener

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent.parent


class Project:
    """A folder with an inventory, settings and deploys, as `underlay init` makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> None:
        """Write one file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def underlay(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the `underlay` command here."""
        return self._run(sys.executable, "-m", "underlay", *words)

    def pyinfra(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run pyinfra here, as a user types it."""
        return self._run(str(BIN / "pyinfra"), *words)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYINFRA_PROGRESS": "off"}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The starter that `underlay init` writes."""
    found = Project(tmp_path)
    done = found.underlay("init", ".")
    assert done.returncode == 0, done.stderr
    return found


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A port on 127.0.0.1 that counts who connects."""
    with closing(Listener()) as found:
        yield found
