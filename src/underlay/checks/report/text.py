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

#: What the signs in a matrix mean.
KEY = {
    "✓": "open", "T": "nothing arrives", "L": "the reply is lost", "R": "refused",
    "P": "prohibited by a firewall", "U": "no route", "C": "another program answers",
    "A": "altered on the way", "E": "could not be sent", "?": "unknown",
}  # fmt: skip

Paint = Callable[[Status, str], str]


def render(report: Report, *, colour: bool = False, width: int = WIDTH) -> str:
    """The whole report; plain text without `colour`. width: columns, at most 100 are used."""

    def paint(status: Status, text: str) -> str:
        return f"\x1b[{COLOURS[status]}m{text}\x1b[0m" if colour else text

    wide = max(40, min(width, WIDTH))
    lines = [*textwrap.wrap(_head(report), wide), ""]
    lines += _problems(report, paint, wide)
    # the picture of everything, and of sizes; the report in HTML has one of each port besides
    for number, grid in enumerate(report.grids):
        if number == 0 or grid.numbers:
            lines += _matrix(grid, paint, wide)
    lines += _passed(report, paint, wide)
    lines += _skipped(report, paint, wide)
    for note in report.notes:
        lines += _wrapped("note: ", "      ", note, wide)
    return "\n".join([*lines, _summary(report, paint, wide)]) + "\n"


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


def _problems(report: Report, paint: Paint, wide: int) -> Iterator[str]:
    groups: dict[str, list[tuple[Result, Finding]]] = {}
    for result, finding in report.problems():
        groups.setdefault(_place(finding, report), []).append((result, finding))
    for place, found in groups.items():
        yield from textwrap.wrap(place, wide)
        for result, finding in found:
            sign = paint(finding.status, SIGNS[finding.status])
            yield f"  {sign} {result.id}"
            yield from _wrapped("    ", "    ", finding.message, wide)
            yield from _wrapped("    do: ", "        ", finding.remedy or result.remedy, wide)
            yield f"    {result.anchor}"
        yield ""


def _wrapped(first: str, rest: str, text: str, wide: int) -> list[str]:
    return textwrap.wrap(
        text, wide, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _matrix(grid: Grid, paint: Paint, room: int) -> Iterator[str]:
    """Only a small matrix in which something is wrong is worth its lines."""
    bad = any(cell.status is not Status.PASS for cell in grid.cells.values())
    wide = min(16, max((len(name) for name in grid.names), default=0))
    cell_width = max([3, *(len(cell.text) + 1 for cell in grid.cells.values())])
    if not bad or len(grid.names) > MATRIX_UP_TO or wide + 5 + cell_width * len(grid.names) > room:
        return
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
    there = {cell.text for cell in grid.cells.values()}
    key = ", ".join(f"{sign} {what}" for sign, what in KEY.items() if sign in there)
    if key:
        yield from _wrapped("  ", "  ", key, room)
    yield ""


def _passed(report: Report, paint: Paint, wide: int) -> Iterator[str]:
    found = [result for result in report.results if result.status is Status.PASS]
    if not found:
        return
    sign = paint(Status.PASS, SIGNS[Status.PASS])
    told = [
        result.id + "".join(f" ({finding.message})" for finding in result.findings)
        for result in found
    ]
    lines = _wrapped("  ", "    ", ", ".join(told), wide)
    yield f"{sign}{lines[0][1:]}"
    yield from lines[1:]


def _skipped(report: Report, paint: Paint, wide: int) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for result in report.results:
        if result.status is Status.SKIPPED:
            groups.setdefault(result.reason, []).append(result.id)
    for reason, ids in groups.items():
        lines = _wrapped("  ", "    ", f"{', '.join(ids)}: {reason}", wide)
        yield f"{paint(Status.SKIPPED, SIGNS[Status.SKIPPED])}{lines[0][1:]}"
        yield from lines[1:]


def _summary(report: Report, paint: Paint, wide: int) -> str:
    words = {
        Status.FAIL: "failed", Status.UNKNOWN: "unknown", Status.WARN: "warned",
        Status.PASS: "passed", Status.SKIPPED: "skipped",
    }  # fmt: skip
    parts = [
        paint(status, f"{report.counts[status]} {word}")
        for status, word in words.items()
        if report.counts[status]
    ]
    text = f"{', '.join(parts)} in {report.seconds:.1f} s"
    return "\n".join(["", text, *_lost(report, wide)])


def _lost(report: Report, wide: int) -> list[str]:
    if not report.lost:
        return []
    text = f"lost {len(report.lost)} of {len(report.hosts)} nodes: {', '.join(report.lost)}"
    return _wrapped("", "    ", text, wide)
