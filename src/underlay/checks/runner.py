"""Evaluate checks over one subject: all run, each problem is kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from underlay.checks.model import Check, Finding, Result, Severity, Status

S = TypeVar("S")


def evaluate(
    checks: Iterable[Check[S]], subject: S, waived: Mapping[str, str] | None = None
) -> list[Result]:
    """One result per check, in order. waived: id -> reason it is not asked."""
    return [_result(check, subject, (waived or {}).get(check.id, "")) for check in checks]


def _result(check: Check[S], subject: S, waived: str) -> Result:
    reason = waived or check.applies(subject)
    findings = () if reason else tuple(dict.fromkeys(_findings(check, subject)))
    return Result(
        check.id, check.title, check.severity, check.why, check.remedy, check.anchor, findings,
        reason,
    )  # fmt: skip


def _findings(check: Check[S], subject: S) -> list[Finding]:
    try:
        found = list(check.evaluate(subject))
    except Exception as error:
        text = f"the check itself broke off: {type(error).__name__}: {error}"
        return [
            Finding(Status.UNKNOWN, text, remedy="report this with the output of --format json")
        ]
    if check.severity is Severity.WARNING:
        return [_soften(finding) for finding in found]
    return found


def _soften(finding: Finding) -> Finding:
    if finding.status is not Status.FAIL:
        return finding
    return Finding(Status.WARN, finding.message, finding.hosts, finding.remedy)
