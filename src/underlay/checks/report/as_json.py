"""For programs; docs/schemas/preflight.json says what each field is. Pure."""

from __future__ import annotations

import json
from typing import Any

from underlay.checks.model import Finding, Result
from underlay.checks.report.model import Grid, Report


def render(report: Report) -> str:
    """One JSON document."""
    found = {
        "version": 1,
        "command": report.command,
        "change": report.change or None,
        "inventory": report.inventory,
        "when": report.when,
        "seconds": round(report.seconds, 3),
        "seed": report.seed,
        "counts": {status.value: number for status, number in report.counts.items()},
        "hosts": [
            {
                "name": host.name, "groups": list(host.groups), "lost": host.lost or None,
                "tool": host.tool or None,
            }
            for host in report.hosts
        ],
        "checks": [_check(result) for result in report.results],
        "matrices": [_grid(grid) for grid in report.grids],
        "notes": list(report.notes),
    }  # fmt: skip
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _check(result: Result) -> dict[str, Any]:
    return {
        "id": result.id, "title": result.title, "severity": result.severity.value,
        "status": result.status.value, "why": result.why, "remedy": result.remedy,
        "docs": result.anchor, "skipped": result.reason or None,
        "findings": [_finding(result, finding) for finding in result.findings],
    }  # fmt: skip


def _finding(result: Result, finding: Finding) -> dict[str, Any]:
    return {
        "status": finding.status.value, "message": finding.message, "hosts": list(finding.hosts),
        "remedy": finding.remedy or result.remedy,
    }  # fmt: skip


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "title": grid.title,
        "nodes": list(grid.names),
        "pairs": [
            {"source": a, "target": b, "status": c.status.value, "text": c.text, "detail": c.tip}
            for (a, b), c in grid.cells.items()
        ],
    }
