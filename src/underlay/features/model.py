"""What a feature is: a section of settings, rules across hosts, checks and entry files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from underlay.settings import Fleet, Problem, Section

#: A rule looks at the whole fleet and yields what is wrong; pure, no host is asked.
Rule = Callable[[Fleet], Iterable[Problem]]


@dataclass(frozen=True)
class Feature:
    """One product feature.

    name: folder below `features/`; title: for people; sections: its keys in group_data;
    deploys: its entry files in `deploys/`, without `.py`; rules: what must hold across hosts.
    """

    name: str
    title: str
    sections: tuple[type[Section], ...]
    deploys: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
