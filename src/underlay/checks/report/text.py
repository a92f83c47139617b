"""For a terminal, 100 columns: problems by node with what to do, then what passed. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

from underlay.checks.model import Finding, Result, Status
from underlay.checks.report.model import Grid, Report

WIDTH = 100
SIGNS = {
    Status.PASS: "✓", Status.SKIPPED: "-", Status.WARN: "!", Status.UNKNOWN: "?", Status.FAIL: "✗"
}  # fmt: skip
#: ANSI colours; the caller decides whether they are used.
COLOURS = {
    Status.PASS: "32", Status.SKIPPED: "90", Status.WARN: "33", Status.UNKNOWN: "35",
    Status.FAIL: "31",
}  # fmt: skip
#: A larger matrix does not fit a terminal; the HTML report has it.
MATRIX_UP_TO = 16

Paint = Callable[[Status, str], str]


def render(report: Report, *, colour: bool = False) -> str:
    """The whole report; plain text without `colour`."""

    def paint(status: Status, text: str) -> str:
        return f"\x1b[{COLOURS[status]}m{text}\x1b[0m" if colour else text

    lines = [_head(report), ""]
    lines += _problems(report, paint)
    for grid in report.grids:
        lines += _matrix(grid, paint)
    lines += _passed(report, paint)
    lines += _skipped(report, paint)
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join([*lines, _summary(report, paint)]) + "\n"


def _head(report: Report) -> str:
    change = f" for {report.change}" if report.change else ""
    seed = f", sample seed {report.seed}" if report.seed is not None else ""
    return (
        f"underlay {report.command}{change}: {report.inventory}, {len(report.hosts)} nodes,"
        f" {len(report.results)} checks{seed}"
    )


def _place(finding: Finding, report: Report) -> str:
    if not finding.hosts:
        return "cluster"
    if len(finding.hosts) == len(report.hosts) > 1:
        return "every node"
    if len(finding.hosts) == 1:
        return finding.hosts[0]
    shown = ", ".join(finding.hosts[:6])
    more = f" and {len(finding.hosts) - 6} more" if len(finding.hosts) > 6 else ""
    return shown + more


def _problems(report: Report, paint: Paint) -> Iterator[str]:
    groups: dict[str, list[tuple[Result, Finding]]] = {}
    for result, finding in report.problems():
        groups.setdefault(_place(finding, report), []).append((result, finding))
    for place, found in groups.items():
        yield from textwrap.wrap(place, WIDTH)
        for result, finding in found:
            sign = paint(finding.status, SIGNS[finding.status])
            yield f"  {sign} {result.id}"
            yield from _wrapped("    ", "    ", finding.message)
            yield from _wrapped("    do: ", "        ", finding.remedy or result.remedy)
            yield f"    {result.anchor}"
        yield ""


def _wrapped(first: str, rest: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _matrix(grid: Grid, paint: Paint) -> Iterator[str]:
    """Only a small matrix in which something is wrong is worth its lines."""
    bad = any(cell.status is not Status.PASS for cell in grid.cells.values())
    if not bad or len(grid.names) > MATRIX_UP_TO:
        return
    wide = min(16, max(len(name) for name in grid.names))
    cell_width = max([3, *(len(cell.text) + 1 for cell in grid.cells.values())])
    numbers = "".join(f"{number:>{cell_width}}" for number in range(1, len(grid.names) + 1))
    yield f"{grid.title} (rows send, columns receive)"
    yield f"  {'':<{wide}}   {numbers}"
    for number, row in enumerate(grid.names, 1):
        cells = ""
        for column in grid.names:
            cell = grid.cells.get((row, column))
            text = "." if cell is None else cell.text
            space = " " * (cell_width - len(text))
            cells += space + (text if cell is None else paint(cell.status, text))
        yield f"  {row[:wide]:<{wide}} {number:>2}{cells}"
    yield ""


def _passed(report: Report, paint: Paint) -> Iterator[str]:
    found = [result for result in report.results if result.status is Status.PASS]
    if not found:
        return
    sign = paint(Status.PASS, SIGNS[Status.PASS])
    told = [
        result.id + "".join(f" ({finding.message})" for finding in result.findings)
        for result in found
    ]
    lines = _wrapped("  ", "    ", ", ".join(told))
    yield f"{sign}{lines[0][1:]}"
    yield from lines[1:]


def _skipped(report: Report, paint: Paint) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for result in report.results:
        if result.status is Status.SKIPPED:
            groups.setdefault(result.reason, []).append(result.id)
    for reason, ids in groups.items():
        lines = _wrapped("  ", "    ", f"{', '.join(ids)}: {reason}")
        yield f"{paint(Status.SKIPPED, SIGNS[Status.SKIPPED])}{lines[0][1:]}"
        yield from lines[1:]


def _summary(report: Report, paint: Paint) -> str:
    words = {
        Status.FAIL: "failed", Status.UNKNOWN: "unknown", Status.WARN: "warned",
        Status.PASS: "passed", Status.SKIPPED: "skipped",
    }  # fmt: skip
    parts = [
        paint(status, f"{report.counts[status]} {word}")
        for status, word in words.items()
        if report.counts[status]
    ]
    lost = f"; lost: {', '.join(report.lost)}" if report.lost else ""
    return f"\n{', '.join(parts)} in {report.seconds:.1f} s{lost}"
