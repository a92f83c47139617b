"""`make test`: run every tier this machine can run, in order of cost, and say what was left out.

With CI=true a tier that cannot run is an error. A tier is a folder set plus what it needs.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import machine
from tests.lab import prepare

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Tier:
    """One group of tests: what to run, and what of the machine it needs.

    packages: command -> package of the distribution that carries it.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    packages: tuple[tuple[str, str], ...] = ()
    root: bool = False

    def missing(self) -> str | None:
        """Why this tier cannot run here, after installing what can be installed; None if it can."""
        if self.root and os.geteuid() != 0:
            return "needs root"
        return machine.install(dict(self.packages))


def _pytest(*folders: str, options: tuple[str, ...] = ()) -> tuple[tuple[str, ...], ...]:
    """One pytest run of those folders that hold tests; pytest without a folder would run all."""
    places = [ROOT / "tests" / folder for folder in folders]
    paths = [
        str(place.relative_to(ROOT))
        for place in places
        if place.is_file() or any(place.rglob("test_*.py"))
    ]
    return ((sys.executable, "-m", "pytest", "-q", "-rs", *options, *paths),) if paths else ()


def tiers(full: bool) -> tuple[Tier, ...]:
    """The tiers, cheapest first; `full` adds the minutes-long loops to the last ones."""
    loops = () if full else ("-m", "not slow")
    return (
        Tier(
            "static",
            (
                (sys.executable, "-m", "ruff", "check", "."),
                (sys.executable, "-m", "ruff", "format", "--check", "."),
                (sys.executable, "-m", "mypy"),
                *_pytest("test_structure.py", "test_shell_quoting.py"),
            ),
        ),
        Tier("pure", _pytest("unit", "cli", options=("-n", "2"))),
        Tier("fixtures", _pytest("facts", "operations")),
        Tier("package", _pytest("package")),
        Tier("fake", _pytest("fake", "hostile", options=("-n", "2", *loops))),
        Tier(
            "netns",
            # a file has hosts of its own, so that two may run at a time
            _pytest("netns", options=("-n", "2", "--dist", "loadfile", *loops)),
            packages=machine.NETNS_PACKAGES,
            root=True,
        ),
        Tier(
            "lab",
            _pytest("lab", options=("--durations", "15", "--durations-min", "30", *loops)),
            packages=machine.LAB_PACKAGES,
            root=True,
        ),
    )


def main() -> int:
    """Run the tiers; the exit code is 1 when one failed or, in CI, was left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also run the very long loops")
    parser.add_argument("--tier", action="append", help="only these tiers")
    options = parser.parse_args()
    in_ci = os.environ.get("CI") == "true"
    chosen = [
        tier
        for tier in tiers(options.full)
        if tier.commands and (not options.tier or tier.name in options.tier)
    ]
    with _preparing(chosen):
        failed, left_out = _run(chosen)
    for line in left_out:
        print(f"left out  {line}")
    for line in failed:
        print(f"FAILED    {line}")
    return 1 if failed or (in_ci and left_out) else 0


@contextmanager
def _preparing(chosen: Sequence[Tier]) -> Iterator[None]:
    """Make what labs need beside the tiers before them, which leave a third of the time unused."""
    names = [tier.name for tier in chosen]
    if names[-1:] != ["lab"] or os.geteuid() != 0:
        yield
        return
    log = ROOT / ".underlay/prepare.log"
    log.parent.mkdir(exist_ok=True)
    # before anything runs beside it: apt does one thing at a time
    reason = machine.install(prepare.PACKAGES)
    print(reason or f"preparing labs meanwhile, see {log.relative_to(ROOT)}", flush=True)
    with log.open("w") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.prepare"],
            cwd=ROOT, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
        child.wait()


def _run(chosen: Sequence[Tier]) -> tuple[list[str], list[str]]:
    """What failed, and what was left out and why."""
    failed: list[str] = []
    left_out: list[str] = []
    for tier in chosen:
        print(f"== {tier.name}", flush=True)
        started = time.monotonic()
        reason = tier.missing()
        if reason:
            left_out.append(f"{tier.name}: {reason}")
            continue
        failed += [
            f"{tier.name}: {' '.join(command[2:])}"
            for command in tier.commands
            if subprocess.run(command, cwd=ROOT, check=False).returncode != 0
        ]
        print(f"== {tier.name}: {time.monotonic() - started:.0f} s", flush=True)
    return failed, left_out


if __name__ == "__main__":
    sys.exit(main())
