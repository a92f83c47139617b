"""One whole run: what the command line and a deploy share, from a scene to a report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timezone

from underlay.checks.model import Finding, Phase, Result, Status
from underlay.checks.report import HostRow, Report
from underlay.checks.runner import evaluate
from underlay.checks.select import Waiver, chosen, known_scope, waived
from underlay.features.preflight.changes import SCOPES
from underlay.features.preflight.checks import CHECKS
from underlay.features.preflight.grids import grids
from underlay.features.preflight.scene import Scene
from underlay.features.preflight.words import listed

#: Checks of the declared plan and of this computer, which need no node.
DECLARED = frozenset({"address/overlap", "address/capacity", "cni/backup"})
#: Beginnings of ids of checks that look at probes, which a host can miss after it was read.
PROBED = ("reach/", "mtu/path", "dns/resolves", "dns/tcp", "time/", "probe/")


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
    found = evaluate(chosen(CHECKS, phase, scene.change or None), scene, reasons)
    return [_of_what_was_seen(result, scene) for result in found], notes


def _of_what_was_seen(result: Result, scene: Scene) -> Result:
    """A check passes for the hosts it saw; those that it did not see are named."""
    probed = result.id.startswith(PROBED)
    unseen = tuple(h.name for h in scene if h.facts is None or (h.lost and probed))
    if not unseen or result.status is not Status.PASS or result.id in DECLARED:
        return result
    if len(unseen) == len(scene.hosts):
        return replace(result, findings=(), reason="no node was seen")
    without = Finding(Status.PASS, f"without {listed(unseen)}", unseen)
    return replace(result, findings=(*result.findings, without))


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
