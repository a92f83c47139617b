"""What was decided for a run before anything changes, and what has happened in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from underlay.cluster import Api
from underlay.cluster.leased import LeasedRun
from underlay.features.route_reflectors import plan
from underlay.features.route_reflectors.gate import Baseline
from underlay.features.route_reflectors.plan import Change, State
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.route_reflectors.status import Status
from underlay.features.route_reflectors.store import Store
from underlay.features.route_reflectors.view import View
from underlay.journal import Entry, last


@dataclass(frozen=True)
class Snapshot:
    """What is gone back to. schedulable: nodes that took pods and will again."""

    state: State
    schedulable: tuple[str, ...]
    baseline: Baseline

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {
            "state": self.state.to_json(), "schedulable": list(self.schedulable),
            "baseline": self.baseline.to_json(),
        }  # fmt: skip


def open_snapshot(entries: Sequence[Entry]) -> Snapshot | None:
    """The snapshot of a conversion that was cut short; None when the last one has ended."""
    marks = [e for e in entries if e.event in ("snapshot", "committed", "rolled-back")]
    found = last(entries, "snapshot")
    if found is None or marks[-1] is not found:
        return None
    data: Any = found.data
    return Snapshot(
        State.from_json(data["state"]), tuple(data["schedulable"]),
        Baseline.from_json(data["baseline"]),
    )  # fmt: skip


@dataclass
class Run(LeasedRun):
    """One run. snapshot: None until it is taken; changed: whether objects were written."""

    snapshot: Snapshot | None = None
    changed: bool = False


@dataclass(frozen=True)
class Job:
    """One conversion, carried out by one host of the inventory.

    view: as it was at the start; target: what the inventory asks for; refused: why it must not
    begin.
    """

    api: Api
    store: Store
    status: Status
    settings: RouteReflectors
    view: View
    target: State
    run: Run
    refused: tuple[str, ...] = field(default=())

    @property
    def change(self) -> Change:
        """What has to be written, seen from the start."""
        return plan.change(self.view.state, self.target)
