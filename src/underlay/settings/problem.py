"""One thing that is wrong with the settings: where, what, got, do.

The rule: a problem always names the host and the path, shows what was found and says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from underlay.errors import SettingsError

#: Longest value shown in a message; a pasted file must not fill the terminal.
SHOWN = 80


@dataclass(frozen=True, order=True)
class Problem:
    """One invalid setting.

    host: name of the host, or "" for a problem of the whole inventory.
    path: dotted path, for example `kube_proxy.ipvs.scheduler`.
    what: what is wrong, without a full stop.
    got: `shown(value)`, or None when nothing was given (a missing key).
    do: the remedy, imperative.
    """

    host: str
    path: str
    what: str
    got: str | None
    do: str

    def __str__(self) -> str:
        where = f"{self.host}: {self.path}" if self.host else self.path
        got = f" (got {self.got})" if self.got is not None else ""
        # names of hosts, keys and values are somebody's text: it must not make lines of its own
        return f"{one_line(where)}: {one_line(self.what)}{got}; {one_line(self.do, 600)}"


def one_line(text: str, longest: int = 300) -> str:
    """`text` without anything that moves a terminal's cursor, shortened in its middle."""
    plain = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    half = longest // 2
    return plain if len(plain) <= longest else f"{plain[:half]}…{plain[-half:]}"


def shown(value: object) -> str:
    """`value` as it appears in a message: repr, one line, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def by_file(problems: Iterable[Problem], sources: Mapping[str, Mapping[str, str]]) -> list[Problem]:
    """One problem per mistake: what a file says wrong for many hosts is told once, naming them.

    sources: host -> top-level key -> where its value came from; `host` and `--data` are no files.
    """
    hosts: dict[tuple[str, Problem], list[str]] = {}
    for problem in problems:
        key = re.split(r"[.\[]", problem.path)[0]
        file = sources.get(problem.host, {}).get(key, "")
        shared = file not in {"", "host"}
        where = file if shared else ""
        known = replace(problem, host="") if shared else problem
        hosts.setdefault((where, known), []).append(problem.host)
    return [
        replace(problem, host=f"{where} ({_listed(names)})") if where else problem
        for (where, problem), names in hosts.items()
    ]


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - 5} more" if len(unique) > 5 else ""
    return f"{', '.join(unique[:5])}{more}"


def refuse(problems: Iterable[Problem]) -> None:
    """Raise one SettingsError that lists every problem; do nothing when there is none."""
    found = list(dict.fromkeys(problems))
    if not found:
        return
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    lines = "\n".join(f"  {problem}" for problem in found)
    raise SettingsError(f"{count} in the settings, nothing was changed\n{lines}")
