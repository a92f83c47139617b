"""Remove a lab: its processes, its namespace, its files. Works after any crash."""

from __future__ import annotations

import shutil
from pathlib import Path

from underlay.errors import LabError
from underlay.lab import network, process, state
from underlay.lab.paths import is_name, lab_dir
from underlay.lab.process import NETNS_DIR
from underlay.lab.progress import Say


def down(name: str, say: Say) -> None:
    """Remove one lab, also one whose state file is missing or broken; removing nothing is fine."""
    netns = f"underlay-{name}"
    if not lab_dir(name).exists() and not (NETNS_DIR / netns).exists():
        say(f"lab {name}: is not there")
        return
    running = process.inside(netns)
    try:
        running += [p for p in state.load(name).processes if process.alive(p)]
    except LabError as error:
        # a crash can leave a folder without a readable state; the namespace still tells
        say(f"{error}; removing what is there")
    process.stop(set(running), grace=1)
    network.delete(netns)
    shutil.rmtree(Path("/run/underlay-lab") / name, ignore_errors=True)
    if lab_dir(name).exists():
        shutil.rmtree(lab_dir(name))
    say(f"lab {name}: removed")


def every_name() -> list[str]:
    """Every lab there is a trace of: a folder or a namespace, by a name that a lab can have."""
    spaces = NETNS_DIR.glob("underlay-*") if NETNS_DIR.is_dir() else []
    found = {*state.existing(), *(path.name.removeprefix("underlay-") for path in spaces)}
    return sorted(name for name in found if is_name(name))
