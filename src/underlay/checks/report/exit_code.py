"""Which exit code a report ends with. Pure."""

from __future__ import annotations

from underlay.checks.model import Status
from underlay.checks.report.model import Report
from underlay.exit_codes import ExitCode


def exit_code(report: Report, *, fail_on_warn: bool) -> ExitCode:
    """A lost host before failed checks before warnings; what is unknown counts as a warning."""
    if report.lost:
        return ExitCode.UNREACHABLE
    if report.counts[Status.FAIL]:
        return ExitCode.CHECKS_FAILED
    if fail_on_warn and (report.counts[Status.WARN] or report.counts[Status.UNKNOWN]):
        return ExitCode.WARNINGS
    return ExitCode.PASSED
