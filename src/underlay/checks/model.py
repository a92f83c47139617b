"""What a check is and what it can say. Pure.

The rule: a check that saw nothing wrong says so only about what it really saw; what could not be
seen is `unknown`, never `pass`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

S = TypeVar("S")

#: An id is the key of skips and waivers and the anchor of the check in docs/checks.md.
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*")


class Status(str, Enum):
    """What one finding, check or run says; declared from best to worst."""

    PASS = "pass"  # noqa: S105 - not a password
    SKIPPED = "skipped"
    WARN = "warn"
    UNKNOWN = "unknown"
    FAIL = "fail"


class Severity(str, Enum):
    """How much a check matters.

    strict: fails the run, and is waived only by its own full id; error: fails the run; warning:
    never worse than `warn`.
    """

    STRICT = "strict"
    ERROR = "error"
    WARNING = "warning"


class Phase(str, Enum):
    """When a check is worth asking: before a change, after it, or both."""

    PREFLIGHT = "preflight"
    VERIFY = "verify"


@dataclass(frozen=True)
class Finding:
    """One thing seen, with one cause.

    message: what was seen and where, without a full stop; hosts: those it is about, none for the
    whole cluster; remedy: more exact than the check's own, or "".
    """

    status: Status
    message: str
    hosts: tuple[str, ...] = ()
    remedy: str = ""


def always(subject: object) -> str:
    """A check without a condition."""
    return ""


@dataclass(frozen=True)
class Check(Generic[S]):
    """One check: data for people, and a pure function from what was read to findings.

    why: what breaks when it fails; remedy: what to do, imperative; evaluate: yields findings, none
    when all is well; applies: "" or the reason why the check has nothing to look at; scopes:
    features and changes it matters for, none for all.
    """

    id: str
    title: str
    severity: Severity
    why: str
    remedy: str
    evaluate: Callable[[S], Iterable[Finding]]
    applies: Callable[[S], str] = always
    phases: frozenset[Phase] = frozenset(Phase)
    scopes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise ValueError(f"check {self.id!r}: not an id; write group/name in lower case")
        for name in ("title", "why", "remedy"):
            if not getattr(self, name).strip():
                raise ValueError(f"check {self.id}: has no {name}; write one sentence")

    @property
    def anchor(self) -> str:
        """Where docs/checks.md explains it."""
        return f"docs/checks.md#{self.id.replace('/', '')}"


@dataclass(frozen=True)
class Result:
    """What one check said. reason: why it was skipped, or who waived it."""

    id: str
    title: str
    severity: Severity
    why: str
    remedy: str
    anchor: str
    findings: tuple[Finding, ...] = ()
    reason: str = ""

    @property
    def status(self) -> Status:
        """The worst finding; pass when there is none."""
        if self.reason:
            return Status.SKIPPED
        return worst(finding.status for finding in self.findings)


def worst(found: Iterable[Status]) -> Status:
    """The worst of some statuses, pass for none."""
    return max(found, key=list(Status).index, default=Status.PASS)
