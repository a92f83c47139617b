"""From plain inventory data to typed sections, every problem of every host at once.

The rule: nothing here stops at the first problem, and pydantic's own wording never reaches a user
without the path, the value and what to write instead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from underlay.settings.fleet import Fleet, HostSettings, RawHost
from underlay.settings.problem import Problem, shown
from underlay.settings.section import Section

#: Keys whose value may be a secret that somebody wrote into the inventory by mistake.
_SECRET = re.compile(r"psk|secret|passw|token|private|shared.?key|^key$", re.IGNORECASE)
_HIDDEN = "a value that is not shown here, because it may be a secret"


def read_fleet(
    hosts: Iterable[RawHost], kinds: Sequence[type[Section]]
) -> tuple[Fleet, list[Problem]]:
    """Typed settings of every host that is valid, and the problems of those that are not."""
    problems: list[Problem] = []
    settings: dict[str, HostSettings] = {}
    names: set[str] = set()
    for host in hosts:
        names.add(host.name)
        sections: dict[type[Section], Section] = {}
        for kind in kinds:
            section, found = read_section(host.name, host.data.get(kind.KEY, {}), kind)
            problems += found
            if section is not None:
                sections[kind] = section
        if len(sections) == len(kinds):
            given = frozenset(kind.KEY for kind in kinds if kind.KEY in host.data)
            way_in = str(host.data.get("ssh_hostname") or host.name)
            settings[host.name] = HostSettings(host.name, host.groups, sections, given, way_in)
    return Fleet(settings, frozenset(names)), problems


def read_section(
    host: str, raw: object, kind: type[Section]
) -> tuple[Section | None, list[Problem]]:
    """One section of one host, or the list of what is wrong with it."""
    if not isinstance(raw, Mapping):
        what = "a section is a mapping of settings"
        return None, [Problem(host, kind.KEY, what, shown(raw), "write {...}, or leave it out")]
    try:
        return kind.model_validate(dict(raw)), []
    except ValidationError as error:
        return None, list(_problems(host, kind, error))


def _problems(host: str, kind: type[Section], error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors():
        path = ".".join([kind.KEY, *(str(step) for step in detail["loc"])])
        if detail["type"] == "extra_forbidden":
            yield _unknown_key(host, path, kind, detail)
        elif detail["type"] == "missing":
            yield Problem(host, path, "required and not given", None, "add it")
        else:
            yield Problem(host, path, _what(detail), _got(detail), _do(detail))


def _got(detail: ErrorDetails) -> str:
    """The value as a message may have it, wherever on its way a key speaks of a secret."""
    secret = any(_SECRET.search(str(step)) for step in detail["loc"])
    return _HIDDEN if secret else shown(detail["input"])


def _unknown_key(host: str, path: str, kind: type[Section], detail: ErrorDetails) -> Problem:
    *parents, key = detail["loc"]
    known = _keys_at(kind, parents)
    close = difflib.get_close_matches(str(key), known, n=1)
    do = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(sorted(known))}"
    return Problem(host, path, "no such setting", _got(detail), do)


def _keys_at(kind: type[BaseModel], parents: Sequence[int | str]) -> list[str]:
    """The keys that are valid at one depth of a section."""
    model: Any = kind
    for step in parents:
        field = model.model_fields.get(str(step)) if hasattr(model, "model_fields") else None
        model = _model_in(field.annotation) if field is not None else model
    return list(model.model_fields) if hasattr(model, "model_fields") else []


def _model_in(annotation: Any) -> Any:
    """The model inside an annotation such as `dict[str, Peer]` or `Peer | None`."""
    if hasattr(annotation, "model_fields"):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if hasattr(found, "model_fields"):
            return found
    return annotation


def _what(detail: ErrorDetails) -> str:
    """Our own validators raise ValueError("what; do"); pydantic's own messages are kept."""
    text = detail["msg"].removeprefix("Value error, ").partition("; ")[0]
    return text[:1].lower() + text[1:]


def _do(detail: ErrorDetails) -> str:
    _, found, remedy = detail["msg"].partition("; ")
    return remedy if found else "correct the value"
