"""Upstream's manifests, on a computer that has a folder `shared/upstream` above the checkout."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def upstream(path: str) -> Path:
    """Where a manifest is; a path that does not exist when this computer has none."""
    places = [parent / "shared/upstream" / path for parent in _ROOT.parents]
    return next((place for place in places if place.exists()), places[0])
