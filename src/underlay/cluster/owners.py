"""Who wrote what of an object: its managedFields, as server-side apply keeps them. Pure."""

from __future__ import annotations

from typing import Any

from underlay.cluster.api import Object


def writers(found: Object) -> set[str]:
    """Managers that wrote an object itself; who reports its status is none of them."""
    return {entry["manager"] for entry in _entries(found) if entry.get("subresource") != "status"}


def annotators(found: Object, key: str) -> set[str]:
    """Managers that wrote one annotation of an object, several when they agree on its value."""
    # flannel annotates a Node as a part of its status
    return {
        entry["manager"]
        for entry in _entries(found)
        if f"f:{key}" in _below(entry, "fieldsV1", "f:metadata", "f:annotations")
    }


def _entries(found: Object) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = found["metadata"].get("managedFields") or []
    return entries


def _below(found: Any, *path: str) -> Any:
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found or {}
