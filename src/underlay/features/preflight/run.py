"""One whole run: what the command line and a deploy share, from a scene to a report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timezone

from underlay.checks.model import Phase, Result
from underlay.checks.report import HostRow, Report
from underlay.checks.runner import evaluate
from underlay.checks.select import Waiver, chosen, known_scope, waived
from underlay.features.preflight.changes import SCOPES
from underlay.features.preflight.checks import CHECKS
from underlay.features.preflight.grids import grids
from underlay.features.preflight.scene import Scene


def scope_of(text: str | None) -> str:
    """What `--for` means; UsageError with a suggestion when nothing does."""
    return known_scope(text, SCOPES) if text else ""


def results(
    scene: Scene, phase: Phase, waivers: Iterable[Waiver], today: date
) -> tuple[list[Result], list[str]]:
    """Results of the phase's checks in the scene's scope, and notes about waivers.

    waivers: those of this run; the inventory's are added.
    """
    declared = (Waiver(w.id, w.reason, w.until) for host in scene for w in host.preflight.waivers)
    reasons, notes = waived(CHECKS, dict.fromkeys([*waivers, *declared]), today)
    return evaluate(chosen(CHECKS, phase, scene.change or None), scene, reasons), notes


def report(
    scene: Scene, found: Sequence[Result], notes: Sequence[str], *, command: str, inventory: str,
    seconds: float,
) -> Report:  # fmt: skip
    """Everything that is told of the run."""
    hosts = tuple(HostRow(h.name, h.groups, h.lost, h.tool) for h in scene)
    when = (scene.now or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Report(
        command, inventory, when, seconds, tuple(found), hosts, grids(scene), tuple(notes),
        scene.probes.seed, scene.change,
    )  # fmt: skip
