"""Artefacts that are made once and kept, each under the hash of what it was made from.

The rule: a folder in the cache is complete. It is built beside its place and renamed, under a lock,
so that two labs that start together build it once.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from underlay.lab.paths import cache_dir
from underlay.lab.progress import Say


def recipe(parts: Iterable[str]) -> str:
    """The key of an artefact: a hash over everything that went into it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def cached(kind: str, key: str, build: Callable[[Path], None], say: Say) -> Path:
    """The folder of an artefact; `build` fills an empty folder when it is not there yet."""
    done = cache_dir() / f"{kind}-{key}"
    if done.is_dir():
        return done
    done.parent.mkdir(parents=True, exist_ok=True)
    with locked(done.with_suffix(".lock")):
        if done.is_dir():
            return done
        for left in done.parent.glob(f".{done.name}-*"):
            # of a build that was killed; the lock says that nobody is at it
            shutil.rmtree(left, ignore_errors=True)
        say(f"{kind}: not in the cache, building it")
        building = Path(tempfile.mkdtemp(prefix=f".{done.name}-", dir=done.parent))
        building.chmod(0o755)
        try:
            build(building)
            building.rename(done)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return done


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock file; it is released when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
