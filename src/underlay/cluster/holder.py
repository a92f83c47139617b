"""The process that holds a lease, told apart from every other one.

The rule: a process is taken for ended only where it would be seen if it ran, in the same boot of
the same kernel and the same PID namespace. Two containers may share their name and their numbers.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

_FORM = re.compile(
    r"(?P<short>\S+/(?P<pid>[1-9]\d{0,8})) boot=(?P<boot>\S+) pidns=(?P<pidns>\d+)"
    r" start=(?P<start>\d+)"
)


def myself() -> str:
    """`computer/pid boot=... pidns=... start=...` of this process; start: ticks since the boot.

    Only `computer/pid` where the kernel does not say the rest: such a holder is always waited for.
    """
    short, place = f"{socket.gethostname()}/{os.getpid()}", _place()
    return f"{short} {place} start={_started(os.getpid())}" if place else short


def called(holder: str) -> str:
    """A holder as messages name it: `computer/pid`, with the rest where that is our own, too."""
    found = _FORM.fullmatch(holder)
    if found is None or found["short"] == myself().partition(" ")[0]:
        return holder
    return found["short"]


def has_ended(holder: str) -> bool:
    """Whether that process is known to run no more; False where it could not be seen from here."""
    found = _FORM.fullmatch(holder)
    if found is None or f"boot={found['boot']} pidns={found['pidns']}" != _place():
        return False
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        # another user's, which is there all the same
        pass
    # a number is given again; /proc may hide the processes of others
    return _started(int(found["pid"])) not in ("", found["start"])


def _place() -> str:
    """Boot and PID namespace of this process, "" where they are not known."""
    try:
        if str(Path("/proc/self").readlink()) != str(os.getpid()):
            # a /proc of another namespace, whose numbers are other processes
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return ""
    return f"boot={boot} pidns={namespace}" if boot else ""


def _started(pid: int) -> str:
    """When a process was started, in ticks since the boot; "" when that is not shown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # the name of the program, in brackets, may have spaces and brackets of its own
    return text.rpartition(")")[2].split()[19]
