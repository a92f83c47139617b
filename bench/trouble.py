"""What trouble on some hosts costs the others: kernel settings on many, one trouble at a time.

    python -m bench.trouble [--hosts 100]

Every row is the first apply on hosts that nothing was done to, then the trouble ends and the run is
repeated: `after` is how many hosts that run had left to change. Of a controller that is killed the
row tells what it had done by then; its exit code is the signal, as a shell tells it. Needs root,
iproute2, OpenSSH's server; no virtual machine.

No row has a clock that jumps: namespaces share the computer's wall clock, and a deploy of kernel
settings reads none on a host, so a substitute for date(1) there would show nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from bench.hosts import Hosts, hosts
from bench.ways import BIN, project

Trouble = Callable[[Hosts], AbstractContextManager[object]]

COMMAND = (str(BIN / "pyinfra"), "-y", "--json", "inventory.py", "deploys/sysctl.py")
KILLED = "the controller is killed half-way"


def dead(found: Hosts) -> AbstractContextManager[object]:
    """Three hosts that answer nothing."""
    many = len(found.addresses)
    return found.dead(1, many // 2, many - 1)


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


@contextmanager
def lost_midway(found: Hosts) -> Iterator[None]:
    """Three hosts whose link goes down while they are at work on their first command."""
    over = threading.Event()
    with ExitStack() as stack:
        for number in (1, 2, 3):
            # the work takes longer than the link needs to be taken down
            stack.enter_context(found.program(number, "sh", 'sleep 20; exec /bin/sh "$@"'))
            link = ["ip", "-n", found.netns(number), "link", "set", "eth0"]
            stack.callback(subprocess.run, [*link, "up"], check=True)
            watch = threading.Thread(target=_cut, args=(found, number, link, over))
            watch.start()
            stack.callback(watch.join)
        stack.callback(over.set)
        yield


def _cut(found: Hosts, number: int, link: list[str], over: threading.Event) -> None:
    began = found.sessions(found.addresses[number])
    while not over.wait(0.1):
        if found.sessions(found.addresses[number]) > began:
            subprocess.run([*link, "down"], check=True)
            return


TROUBLES: dict[str, Trouble] = {
    "none": lambda _: nullcontext(),
    "3 hosts do not answer": dead,
    "3 hosts need 2 s more for every command": slow,
    "3 hosts have a full disk": full,
    "3 hosts have a read-only /etc": read_only,
    "3 hosts are lost in the middle of a command": lost_midway,
    KILLED: lambda _: nullcontext(),
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
            run = _killed if name == KILLED else _run
            with trouble(found):
                code, changed, lost, seconds = run(Path(place), found)
            code_after, after, lost_after, _ = _run(Path(place), found)
            assert (code_after, lost_after) == (0, 0), "the run after the trouble did not converge"
        print(f"| {name} | {code} | {changed} | {lost} | {seconds:.1f} | {after} |", flush=True)
    return 0


def _run(folder: Path, found: Hosts) -> tuple[int, int, int, float]:
    """Exit code, hosts that were changed, hosts that failed or were not reached, seconds."""
    began = time.monotonic()
    done = subprocess.run(
        found.inside(*COMMAND), cwd=folder / "p", capture_output=True, text=True, check=False,
        env={**os.environ, "PYINFRA_PROGRESS": "off"},
    )  # fmt: skip
    seconds = time.monotonic() - began
    try:
        results = json.loads(done.stdout.splitlines()[-1])["results"]
        changed = int(results["totals"]["success"])
        # a host whose fact could not be read has no change, and failed
        same = {host for each in results["operations"] for host in each["no_change"]}
        unchanged = len(same - set(results["failed_hosts"]))
    except (ValueError, IndexError, KeyError, TypeError):
        raise SystemExit(done.stdout + done.stderr) from None
    return done.returncode, changed, len(found.addresses) - changed - unchanged, seconds


def _killed(folder: Path, found: Hosts) -> tuple[int, int, int, float]:
    """The same of a run that is killed as soon as half of the hosts are changed."""
    began = time.monotonic()
    with subprocess.Popen(
        found.inside(*COMMAND), cwd=folder / "p", stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYINFRA_PROGRESS": "off"},
    ) as run:  # fmt: skip
        while _changed(found) < len(found.addresses) / 2:
            if run.poll() is not None:
                raise SystemExit("the run was over before half of the hosts were changed")
            time.sleep(0.01)
        run.kill()
    seconds = time.monotonic() - began
    changed = _changed(found)
    return 128 - run.returncode, changed, len(found.addresses) - changed, seconds


def _changed(found: Hosts) -> int:
    """Hosts that have our file, which is put in place after everything else."""
    roots = [Path(f"/proc/{daemon.pid}/root") for daemon in found.daemons]
    return sum((root / "etc/sysctl.d/90-underlay.conf").exists() for root in roots)


if __name__ == "__main__":
    sys.exit(main())
