"""Where the lab keeps things: in the cache what can be made again, in the state what runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from underlay.errors import LabError

#: A lab's name ends up in names of network namespaces, files and processes.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")


def cache_dir() -> Path:
    """Finished images and binaries; safe to delete while no lab is being built."""
    given = os.environ.get("UNDERLAY_CACHE")
    return Path(given) if given else _xdg("XDG_CACHE_HOME", ".cache") / "underlay"


def labs_dir() -> Path:
    """One folder per lab that exists."""
    given = os.environ.get("UNDERLAY_STATE")
    return (Path(given) if given else _xdg("XDG_STATE_HOME", ".local/state") / "underlay") / "labs"


def is_name(name: str) -> bool:
    """Whether a lab can have this name."""
    return _NAME.fullmatch(name) is not None


def lab_dir(name: str) -> Path:
    """The folder of one lab; LabError for a name that cannot be one."""
    if not is_name(name):
        raise LabError(
            f"lab name: not usable (got {name!r}); use at most 20 of a-z, 0-9 and -,"
            " starting with a letter"
        )
    return labs_dir() / name


def default_name() -> str:
    """The lab that commands mean when none is named."""
    return os.environ.get("UNDERLAY_LAB") or "lab"


def _xdg(variable: str, fallback: str) -> Path:
    given = os.environ.get(variable)
    return Path(given) if given else Path.home() / fallback
