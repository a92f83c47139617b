"""What several operations of a deploy ask of a host while the run only plans: asked once.

The rule: nothing changes while a run plans. Once it executes, every operation looks anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from pyinfra.api.inventory import Inventory
from pyinfra.context import host, state

T = TypeVar("T")


class OncePlanned(Generic[T]):
    """Calls `read` for the host of the context; None, of a host without an answer, is not kept."""

    def __init__(self, read: Callable[[], T | None]) -> None:
        self._read = read
        self._known: WeakKeyDictionary[Inventory, dict[str, T]] = WeakKeyDictionary()

    def __call__(self) -> T | None:
        """The answer of this host."""
        if state.is_executing:
            return self._read()
        known = self._known.setdefault(host.state.inventory, {})
        if host.name not in known:
            found = self._read()
            if found is None:
                return None
            known[host.name] = found
        return known[host.name]
