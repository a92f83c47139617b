"""Which checks run: by phase, by what is about to be changed, and without the waived ones. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from underlay.checks.model import Check, Phase, Severity
from underlay.errors import UsageError

S = TypeVar("S")

#: Characters that make an id a pattern for many.
PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class Waiver:
    """A check that somebody decided not to ask; until: the last day it counts."""

    id: str
    reason: str
    until: date | None = None


def chosen(checks: Sequence[Check[S]], phase: Phase, scope: str | None) -> list[Check[S]]:
    """The checks of a phase; with a scope those that matter for it."""
    found = [check for check in checks if phase in check.phases]
    if scope is None:
        return found
    return [check for check in found if not check.scopes or scope in check.scopes]


def known_scope(text: str, known: Iterable[str]) -> str:
    """The scope as it is written in checks; UsageError with a suggestion for an unknown one."""
    wanted = text.replace(" ", "").replace("→", "->")
    names = sorted(known)
    if wanted in names:
        return wanted
    raise UsageError(f"--for {text}: no such feature or change; {_suggest(wanted, names)}")


def waived(
    checks: Sequence[Check[S]], waivers: Iterable[Waiver], today: date
) -> tuple[dict[str, str], list[str]]:
    """Id -> reason for the checks that are not asked, and notes about waivers that do not count.

    UsageError for an id that matches nothing. A strict check is waived only by its own id.
    """
    reasons: dict[str, str] = {}
    notes: list[str] = []
    for waiver in waivers:
        matched = [check for check in checks if fnmatchcase(check.id, waiver.id)]
        if not matched:
            ids = [check.id for check in checks]
            raise UsageError(f"skip {waiver.id}: no such check; {_suggest(waiver.id, ids)}")
        if waiver.until is not None and waiver.until < today:
            notes.append(f"the waiver of {waiver.id} ended on {waiver.until}; renew or remove it")
            continue
        for check in matched:
            if check.severity is Severity.STRICT and PATTERN & set(waiver.id):
                notes.append(f"{check.id} is strict: {waiver.id} does not waive it; name its id")
                continue
            end = f", until {waiver.until}" if waiver.until else ""
            reasons[check.id] = f"waived: {waiver.reason}{end}"
    return reasons, notes


def read_waivers(found: Any, where: str) -> list[Waiver]:
    """From the parsed YAML of a waiver file; UsageError lists what is wrong.

    Shape: `waivers: [{id, reason, until: 2027-01-31}]`; reason and until are mandatory.
    """
    entries = found.get("waivers") if isinstance(found, Mapping) else None
    if not isinstance(entries, list):
        raise UsageError(f"{where}: no list of waivers; write `waivers:` and entries below it")
    wrong = [text for number, entry in enumerate(entries, 1) for text in _problems(number, entry)]
    if wrong:
        raise UsageError("\n  ".join([f"{where}: {len(wrong)} problems", *wrong]))
    return [Waiver(entry["id"], entry["reason"].strip(), entry["until"]) for entry in entries]


def _problems(number: int, entry: Any) -> Iterable[str]:
    if not isinstance(entry, Mapping):
        yield f"entry {number}: not a mapping; write id, reason and until"
        return
    for key in ("id", "reason"):
        value = entry.get(key)
        if not isinstance(value, str) or not value.strip():
            yield f"entry {number}: {key} is missing (got {value!r}); write it"
    if type(entry.get("until")) is not date:
        yield f"entry {number}: until is no date (got {entry.get('until')!r}); write 2027-01-31"
    for key in entry:
        if key not in ("id", "reason", "until"):
            yield f"entry {number}: no such key (got {key!r}); use id, reason, until"


def _suggest(text: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(text, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"
