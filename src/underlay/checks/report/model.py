"""Everything a report shows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from underlay.checks.model import Finding, Result, Status


@dataclass(frozen=True)
class HostRow:
    """One host: its groups, why it was lost or "", what it was probed with."""

    name: str
    groups: tuple[str, ...]
    lost: str = ""
    tool: str = ""


@dataclass(frozen=True)
class Cell:
    """One pair in a picture. text: a few characters; tip: the whole sentence."""

    status: Status
    text: str
    tip: str


@dataclass(frozen=True)
class Grid:
    """A picture of who reaches whom.

    cells: (row, column) of `names`; a pair not asked has none; numbers: the cells hold sizes.
    """

    title: str
    caption: str
    names: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    numbers: bool = False


@dataclass(frozen=True)
class Report:
    """One run. when: RFC 3339; seconds: how long it took; seed: of the sample of pairs, or None;
    notes: what a reader must know besides, such as a waiver that ended."""

    command: str
    inventory: str
    when: str
    seconds: float
    results: tuple[Result, ...]
    hosts: tuple[HostRow, ...]
    grids: tuple[Grid, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int | None = None
    change: str = ""
    counts: Mapping[Status, int] = field(init=False)

    def __post_init__(self) -> None:
        found = Counter(result.status for result in self.results)
        object.__setattr__(self, "counts", {status: found[status] for status in Status})

    @property
    def lost(self) -> tuple[str, ...]:
        """Hosts that could not be reached or dropped out."""
        return tuple(host.name for host in self.hosts if host.lost)

    def problems(self) -> Iterator[tuple[Result, Finding]]:
        """Every finding that is no pass, the worst first."""
        found = [
            (result, finding)
            for result in self.results
            if result.status is not Status.SKIPPED
            for finding in result.findings
            if finding.status is not Status.PASS
        ]
        return iter(sorted(found, key=lambda pair: -list(Status).index(pair[1].status)))
