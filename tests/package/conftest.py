"""The wheel, made from the sdist as a release is, installed by pipx as the README says."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
#: Nothing of the checkout may help: neither its folder nor its environment.
CLEAN = {
    key: value
    for key, value in os.environ.items()
    if key not in {"PYTHONPATH", "VIRTUAL_ENV", "UNDERLAY_LAB", "UNDERLAY_INVENTORY"}
}


@dataclass(frozen=True)
class Installed:
    """What was built, and where the wheel is installed."""

    sdist: Path
    wheel: Path
    bin: Path

    def run(self, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in a folder, with its programs first on PATH."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=folder, capture_output=True, text=True,
            timeout=300, check=False,
            env={**CLEAN, "PATH": f"{self.bin}:{CLEAN['PATH']}", "PYINFRA_PROGRESS": "off"},
        )  # fmt: skip


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build both, and install the wheel with what it asks for; pyinfra's command comes along."""
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(dist), str(ROOT))
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", str(place))
    wheel = next(dist.glob("*.whl"))
    run(str(place / "bin/pip"), "install", "--quiet", "pipx")
    homes = {f"PIPX_{name}": str(place / name.lower()) for name in ("HOME", "BIN_DIR", "MAN_DIR")}
    run(str(place / "bin/pipx"), "install", "--include-deps", str(wheel), **homes)
    return Installed(next(dist.glob("*.tar.gz")), wheel, Path(homes["PIPX_BIN_DIR"]))


def run(*command: str, **more: str) -> None:
    """Run a program with nothing of the checkout around it; it must end well."""
    done = subprocess.run(
        command, cwd="/", env={**CLEAN, **more}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
