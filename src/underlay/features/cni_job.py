"""What one run that changes a CNI was decided to do, and what has become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from underlay.cluster import Api, Kind
from underlay.cluster.leased import LeasedRun
from underlay.cluster.objects import LEASE
from underlay.operations import cluster_objects
from underlay.operations.cluster_change import Change
from underlay.operations.cluster_removals import Removal

#: The lease of every CNI's runs: its name and namespace.
PLACE = ("underlay-cni", "kube-system")


@dataclass
class CniRun(LeasedRun):
    """What has happened. writer: the host that changes the cluster, under the lease."""

    writer: str = ""


@dataclass(frozen=True)
class Job:
    """What was decided for the cluster.

    cni: its name; changes: objects, in order; waits_for: kind, name and namespace of workloads
    whose pods must come up, within wait_s seconds (0: nobody waits), and stay so for hold_s seconds
    after the last change; verify: one more question then, "" when all is well; backup: folder on
    this computer; later: objects of a kind that is served only when the pods run; take_over:
    managers whose fields may become ours there; removals: objects that nobody uses any more when
    all else is proved; cut: an earlier run did not come to its end, or
    another one is at work.
    """

    cni: str
    api: Api
    run: CniRun
    changes: tuple[Change, ...]
    waits_for: tuple[tuple[Kind, str, str | None], ...]
    wait_s: int
    backup: str
    hold_s: float = 0.0
    later: tuple[Change, ...] = ()
    take_over: tuple[str, ...] = ()
    removals: tuple[Removal, ...] = ()
    cut: bool = False
    verify: Callable[[], str] = field(default=lambda: "")

    @property
    def empty(self) -> bool:
        """Whether every object is as planned, and no run has left that open."""
        return not (self.changes or self.later or self.removals or self.cut)

    def complaint(self) -> str:
        """What of the CNI does not run as wanted, "" when all of it does."""
        return "; ".join(text for text in (self.verify(), self._workload()) if text)

    def _workload(self) -> str:
        for kind, name, namespace in self.waits_for:
            found = self.api.find(kind, name, namespace)
            if found is None:
                return f"{kind.name} {name} is not there"
            text = cluster_objects.not_rolled_out(found)
            if text:
                return text
        return ""


def was_cut(api: Api) -> bool:
    """Whether there is a lease of a run: each gives it back when it knows how it has ended."""
    return api.find(LEASE, *PLACE) is not None
