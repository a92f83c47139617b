"""`make test`: run every tier this machine can run, in order of cost, and say what was left out.

With CI=true a tier that cannot run is an error. A tier is a folder set plus what it needs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Tier:
    """One group of tests: what to run and why it may be impossible here."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    missing: Callable[[], str | None] = lambda: None


def _pytest(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pytest", "-q", *arguments)


TIERS = (
    Tier(
        "static",
        (
            (sys.executable, "-m", "ruff", "check", "."),
            (sys.executable, "-m", "ruff", "format", "--check", "."),
            (sys.executable, "-m", "mypy"),
        ),
    ),
    Tier("pure", (_pytest("tests/unit"),)),
)


def main() -> int:
    """Run the tiers; the exit code is 1 when one failed or, in CI, was left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also run the very long loops")
    parser.add_argument("--tier", action="append", help="only these tiers")
    options = parser.parse_args()
    in_ci = os.environ.get("CI") == "true"
    failed: list[str] = []
    left_out: list[str] = []
    for tier in TIERS:
        if options.tier and tier.name not in options.tier:
            continue
        reason = tier.missing()
        if reason:
            left_out.append(f"{tier.name}: {reason}")
            continue
        started = time.monotonic()
        print(f"== {tier.name}", flush=True)
        for command in tier.commands:
            if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
                failed.append(f"{tier.name}: {' '.join(command[2:])}")
        print(f"== {tier.name}: {time.monotonic() - started:.0f} s", flush=True)
    for line in left_out:
        print(f"left out  {line}")
    for line in failed:
        print(f"FAILED    {line}")
    return 1 if failed or (in_ci and left_out) else 0


if __name__ == "__main__":
    sys.exit(main())
