"""Top-level keys of a host's data: whose they are. Pure.

pyinfra cannot know a misspelt one, and would run without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator

from underlay.settings.problem import Problem, shown

#: Keys of the user's own start so; no feature will ever use them.
OWN_PREFIX = "x_"
#: Every key that a connector of pyinfra reads starts so.
CONNECTOR_PREFIXES = ("docker_", "fake_", "ssh_")


def unknown_keys(
    host: str, given: Iterable[str], sections: Collection[str], pyinfra: Collection[str]
) -> Iterator[Problem]:
    """Keys that belong to no section, no connector and no argument of pyinfra."""
    known = {*sections, *pyinfra}
    for key in given:
        if key in known or key.startswith(("_", OWN_PREFIX)):
            continue
        close = difflib.get_close_matches(key, known, n=1)
        do = (
            f"did you mean {close[0]!r}?"
            if close
            else f"use one of {', '.join(sorted(sections))}; your own keys start with {OWN_PREFIX}"
        )
        yield Problem(host, key, "no section of that name", shown(key), do)
