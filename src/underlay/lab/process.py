"""Processes a lab starts and later stops: only ever its own.

The rule: a process is known by its pid and its start time together, so that a pid given to somebody
else since is never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

NETNS_DIR = Path("/run/netns")


@dataclass(frozen=True)
class Process:
    """One running program; started: clock ticks since boot, field 22 of /proc/PID/stat."""

    name: str
    pid: int
    started: int


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    netns: str | None,
    cwd: Path | None = None,
) -> Process:
    """Start a program detached from this terminal, in a network namespace when one is named."""
    prefix = ["ip", "netns", "exec", netns] if netns else []
    with log.open("ab") as output:
        child = subprocess.Popen(
            [*prefix, *(str(word) for word in command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=cwd,
        )
    return Process(name, child.pid, started_at(child.pid) or 0)


def started_at(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, None when it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the name in parentheses may hold spaces and parentheses
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def alive(process: Process) -> bool:
    """Whether this very process still runs."""
    return started_at(process.pid) == process.started


def stop(processes: Iterable[Process], *, grace: float = 3.0) -> None:
    """End these processes: SIGTERM, then SIGKILL after `grace` seconds."""
    running = [process for process in processes if alive(process)]
    for process in running:
        _signal(process, signal.SIGTERM)
    until = time.monotonic() + grace
    while any(alive(process) for process in running) and time.monotonic() < until:
        time.sleep(0.05)
    for process in running:
        _signal(process, signal.SIGKILL)
    until = time.monotonic() + 5
    while any(alive(process) for process in running) and time.monotonic() < until:
        time.sleep(0.02)


def inside(netns: str) -> list[Process]:
    """Every process whose main thread is in this network namespace."""
    try:
        wanted = (NETNS_DIR / netns).stat().st_ino
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            same = (entry / "ns/net").stat().st_ino == wanted
        except OSError:
            continue
        started = started_at(int(entry.name))
        if same and started is not None:
            found.append(Process("left", int(entry.name), started))
    return found


def _signal(process: Process, number: signal.Signals) -> None:
    if alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return
        _reap(process.pid)


def _reap(pid: int) -> None:
    """Collect a child of ours; one started by an earlier command is not ours to collect."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
