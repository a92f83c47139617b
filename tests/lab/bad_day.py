"""Bad days of a machine: no room, files that cannot be written, a clock that is not the others'."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.lab.machines import Machines

Trouble = Callable[[Machines, str], AbstractContextManager[None]]

#: Takes all that is left of the root disk, what is kept for root included; writes no data.
_FILL = (
    "mkdir /filled && for size in 1G 64M 4M 256K 4K; do"
    " while fallocate -l $size /filled/$((n += 1)) 2>/dev/null; do :; done; rm -f /filled/$n; done"
)


@contextmanager
def full(machines: Machines, name: str) -> Iterator[None]:
    """No room on the disk."""
    machines.on(name, _FILL)
    try:
        yield
    finally:
        machines.on(name, "rm -rf /filled")


@contextmanager
def read_only(machines: Machines, name: str) -> Iterator[None]:
    """/etc cannot be written, as after an error of the disk."""
    machines.on(name, "mount --bind /etc /etc && mount -o remount,bind,ro /etc")
    try:
        yield
    finally:
        machines.on(name, "umount /etc")


@contextmanager
def ahead(machines: Machines, name: str) -> Iterator[None]:
    """A clock that jumps to the day after, and back."""
    machines.on(name, "date -s '+1 day'")
    try:
        yield
    finally:
        machines.on(name, "date -s '-1 day'")


#: Neither can be written, and what a run says of either: its own words, or the system's.
NO_ROOM: tuple[Trouble, ...] = (full, read_only)
TOLD = re.compile(
    "cannot be written; make room|No space left on device|Read-only file system"
    "|You don't have enough free space"
)


def refused(
    trouble: Trouble, machines: Machines, name: str, baseline: str, before: str, *words: str
) -> None:
    """A run that cannot write on one machine says so, fails, and leaves it as it was.

    baseline: a command whose output on the machine was `before`; words: of pyinfra.
    """
    with trouble(machines, name):
        done = machines.pyinfra(*words)
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert TOLD.search(said), said
    assert machines.on(name, baseline) == before, trouble
