"""Where a guard of an earlier run stands on a host: it may still take that run's change back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import Enum

from underlay import journal


class Guard(str, Enum):
    """NONE: there is none; ARMED: it will take a change back; REVERTING: it does so now;
    LEFT: it has ended, and what it had saved is still there.
    """

    NONE = ""
    ARMED = "armed"
    REVERTING = "reverting"
    LEFT = "left"


def folder(name: str) -> str:
    """What a guard keeps on the host."""
    return f"{journal.ROOT}/guard/{name}"


def unit(name: str) -> str:
    """The unit that fires it, without its ending."""
    return f"underlay-guard-{name}"


def reading(name: str) -> str:
    """Shell text that prints where a guard stands, nothing when there is none."""
    place, timer = shlex.quote(folder(name)), shlex.quote(unit(name))
    # one that was armed before a boot has lost its timer, and nobody fires it any more
    return (
        f"[ ! -d {place} ] || if systemctl is-active --quiet {timer}.service; then echo reverting;"
        f" elif [ ! -e {place}/armed ]; then echo left;"
        f" elif [ -d /run/systemd/system ] && ! systemctl is-active --quiet {timer}.timer;"
        " then echo left; else echo armed; fi"
    )


def parse(lines: Sequence[str]) -> Guard:
    """From the lines of the reading."""
    return Guard(lines[0] if lines else "")
