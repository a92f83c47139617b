"""Upstream's manifests, unmodified: what they are and where they are from, tests/data/README.md."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

ARCHIVE = Path(__file__).parent / "data/upstream.tar.xz"


def upstream(path: str) -> Path:
    """Where a manifest or a folder of them is."""
    found = Path(_unpacked().name) / path
    assert found.exists(), f"{ARCHIVE} has no {path}"
    return found


@cache
def _unpacked() -> tempfile.TemporaryDirectory[str]:
    # kept until this process ends, which removes it
    folder = tempfile.TemporaryDirectory(prefix="underlay-upstream-")
    shutil.unpack_archive(ARCHIVE, folder.name)
    return folder
