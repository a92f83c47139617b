"""Continuous integration leaves no tier out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import machine, run

ROOT = Path(__file__).resolve().parent.parent.parent


def test_continuous_integration_says_that_it_is_one(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$CI $PWD $*"\n')
    make.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [ROOT / ".ci/run"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["true", str(ROOT), "test"], done.stderr


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_a_tier_that_cannot_run_is_an_error_there_only(
    ci: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run"])
    monkeypatch.setenv("CI", ci)
    tier = run.Tier("never", (("false",),), packages=(("no-such-program-here", "none"),))
    monkeypatch.setattr(machine, "install", lambda _: "cannot be installed")
    monkeypatch.setattr(run, "tiers", lambda _: (tier,))
    assert run.main() == code
    assert "left out  never: cannot be installed" in capsys.readouterr().out
