"""What trouble on some hosts costs the others: kernel settings on many, one trouble at a time.

    python -m bench.trouble [--hosts 100]

Every row is the first apply on hosts that nothing was done to, then the trouble ends and the run is
repeated: `after` is how many hosts that run had left to change. Needs root, iproute2, OpenSSH's
server; no virtual machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from bench.hosts import Hosts, hosts
from bench.ways import BIN, project

Trouble = Callable[[Hosts], AbstractContextManager[object]]


@contextmanager
def dead(found: Hosts) -> Iterator[None]:
    """Three hosts that answer nothing."""
    many = len(found.addresses)
    down = [found.netns(number) for number in (1, many // 2, many - 1)]
    links = [["ip", "-n", netns, "link", "set", "eth0"] for netns in down]
    for link in links:
        subprocess.run([*link, "down"], check=True)
    try:
        yield
    finally:
        for link in links:
            subprocess.run([*link, "up"], check=True)


def slow(found: Hosts) -> AbstractContextManager[object]:
    """Two seconds before every command of three hosts."""
    stack = ExitStack()
    for number in (1, 2, 3):
        stack.enter_context(found.program(number, "sh", 'sleep 2; exec /bin/sh "$@"'))
    return stack


@contextmanager
def full(found: Hosts) -> Iterator[None]:
    """Three hosts whose /etc/sysctl.d has no room."""
    with ExitStack() as stack:
        for number in (1, 2, 3):
            inside = ["nsenter", "-t", str(found.daemons[number].pid), "-m"]
            mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "/etc/sysctl.d"]
            subprocess.run([*inside, *mount], check=True)
            stack.callback(subprocess.run, [*inside, "umount", "/etc/sysctl.d"], check=True)
            fill = "head -c 4096 /dev/zero > /etc/sysctl.d/taken"
            subprocess.run([*inside, "sh", "-c", fill], check=True)
        yield


@contextmanager
def read_only(found: Hosts) -> Iterator[None]:
    """Three hosts whose /etc/sysctl.d is mounted read-only."""
    for mode in ("ro", "rw"):
        for number in (1, 2, 3):
            inside = ["nsenter", "-t", str(found.daemons[number].pid), "-m"]
            mount = ["mount", "-o", f"remount,{mode}", "/etc/sysctl.d"]
            subprocess.run([*inside, *mount], check=True)
        if mode == "ro":
            yield


TROUBLES: dict[str, Trouble] = {
    "none": lambda _: nullcontext(),
    "3 hosts do not answer": dead,
    "3 hosts need 2 s more for every command": slow,
    "3 hosts have a full disk": full,
    "3 hosts have a read-only /etc": read_only,
}


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=100)
    options = parser.parse_args()
    print("| trouble | exit code | changed | failed or lost | seconds | after |")
    print("|---|---|---|---|---|---|")
    for name, trouble in TROUBLES.items():
        with tempfile.TemporaryDirectory() as place, hosts(options.hosts, Path(place)) as found:
            project(Path(place), found)
            with trouble(found):
                code, changed, lost, seconds = _run(Path(place), found)
            code_after, after, lost_after, _ = _run(Path(place), found)
            assert (code_after, lost_after) == (0, 0), "the run after the trouble did not converge"
        print(f"| {name} | {code} | {changed} | {lost} | {seconds:.1f} | {after} |", flush=True)
    return 0


def _run(folder: Path, found: Hosts) -> tuple[int, int, int, float]:
    """Exit code, hosts that were changed, hosts that failed or were not reached, seconds."""
    command = [str(BIN / "pyinfra"), "-y", "--json", "inventory.py", "deploys/sysctl.py"]
    began = time.monotonic()
    done = subprocess.run(
        found.inside(*command), cwd=folder / "p", capture_output=True, text=True, check=False,
        env={**os.environ, "PYINFRA_PROGRESS": "off"},
    )  # fmt: skip
    seconds = time.monotonic() - began
    try:
        totals = json.loads(done.stdout.splitlines()[-1])["results"]["totals"]
        changed, unchanged = int(totals["success"]), int(totals["no_change"])
    except (ValueError, IndexError, KeyError):
        raise SystemExit(done.stdout + done.stderr) from None
    return done.returncode, changed, len(found.addresses) - changed - unchanged, seconds


if __name__ == "__main__":
    sys.exit(main())
