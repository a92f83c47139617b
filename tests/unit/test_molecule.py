"""Every Molecule scenario is whole and is told of; what it calls exists."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from underlay.lab.paths import is_name

ROOT = Path(__file__).resolve().parent.parent.parent
SCENARIOS = sorted(path.parent for path in (ROOT / "molecule").glob("*/molecule.yml"))


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_a_scenario_is_whole(folder: Path) -> None:
    found: dict[str, Any] = yaml.safe_load((folder / "molecule.yml").read_text())
    words = found["provisioner"]["env"]
    for path in (*words["DEPLOYS"].split(), *shlex.split(words["ROLL_BACK"]), words["INVENTORY"]):
        assert not path.endswith(".py") or (ROOT / path).is_file(), path
    # molecule/machines: its lab's name
    assert is_name(f"m-{folder.name}")
    for path in words.get("PREPARE", "").split():
        assert (ROOT / path).is_file(), path
    steps = found["scenario"]["test_sequence"]
    for step in ("create", "converge", "idempotence", "verify", "destroy"):
        assert step in steps
    assert "side_effect ../shared/rollback.yml" in steps
    for path in found["provisioner"]["playbooks"].values():
        assert (folder / path).is_file(), path
    for name in ("test_applied.py", "test_rolled_back.py"):
        assert (folder / name).is_file(), name


def test_every_scenario_is_told_of() -> None:
    rows = (ROOT / "docs/molecule.md").read_text().splitlines()
    told = [row.split("`")[1] for row in rows if row.startswith("| `")]
    assert sorted(told) == [folder.name for folder in SCENARIOS]


def test_images_that_nobody_gave_are_named_before_a_machine_is_made(tmp_path: Path) -> None:
    environment = {
        **os.environ, "MOLECULE_SCENARIO_NAME": "cni",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path),
        "LAB": "--cni none", "IMAGES": "flannel:v1", "UNDERLAY_MOLECULE_IMAGES": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [ROOT / "molecule/machines", "up"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "UNDERLAY_MOLECULE_IMAGES: names no folder with *.tar" in done.stderr
    assert "flannel:v1" in done.stderr
