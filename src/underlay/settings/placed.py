"""Data of an inventory file that knows which line each key stands on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from underlay.settings.problem import Problem


class Placed(dict[str, Any]):
    """A mapping of top-level keys as pyinfra wants it.

    places: key -> `inventory.yaml:12`; problems: what is wrong with the file itself, told together
    with everything that is wrong with the settings.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        places: Mapping[str, str],
        problems: Iterable[Problem] = (),
    ) -> None:
        super().__init__(data)
        self.places = dict(places)
        self.problems = tuple(problems)

    def update(self, *given: Any, **named: Any) -> None:
        """What pyinfra puts over it, from a file of group_data, stands elsewhere."""
        over = dict(*given, **named)
        super().update(over)
        for key in over:
            self.places.pop(key, None)


def place(data: Mapping[str, Any], key: str) -> str | None:
    """Where a key stands, when it is known."""
    return data.places.get(key) if isinstance(data, Placed) else None


def problems(data: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What is wrong with the file that the data came from."""
    return data.problems if isinstance(data, Placed) else ()
