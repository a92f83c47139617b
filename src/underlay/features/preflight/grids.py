"""The pictures of a run: who reaches whom, by protocol, and the path MTU. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from underlay.checks.model import Status
from underlay.checks.report import Cell, Grid
from underlay.features.preflight.ports import label
from underlay.features.preflight.scene import Flow, PathMtu, Scene
from underlay.features.preflight.words import VERDICTS

#: Verdict -> what stands in a cell.
SHORT = {
    "open": "✓", "refused": "R", "timeout": "T", "prohibited": "P", "reply-lost": "L",
    "unknown": "?", "unreachable": "U", "closed": "C", "altered": "A", "error": "E",
}  # fmt: skip
ORDER = ("open", "unknown", "altered", "closed", "reply-lost", "refused", "prohibited", "timeout")


def grids(scene: Scene) -> tuple[Grid, ...]:
    """All together first, then one per protocol and port, then path MTU."""
    flows = scene.probes.flows
    names = tuple(host.name for host in scene)
    if not flows:
        return ()
    labels: dict[str, list[Flow]] = {}
    for flow in flows:
        why = scene.probes.uses.get((flow.protocol, flow.port), "")
        name = label(flow.protocol, flow.port) + (f" {why}" if why else "")
        labels.setdefault(name, []).append(flow)
    found = [_grid("Everything", "the worst of all probes of a pair", names, flows)]
    found += [
        _grid(name, "small and full-size" if any(f.size > 64 for f in one) else "", names, one)
        for name, one in labels.items()
    ]
    for title in dict.fromkeys(one.label for one in scene.probes.mtus):
        found.append(_mtu(title, names, [m for m in scene.probes.mtus if m.label == title]))
    return tuple(found)


def _worse(flow: Flow) -> int:
    return ORDER.index(flow.verdict) if flow.verdict in ORDER else len(ORDER)


def _grid(title: str, caption: str, names: tuple[str, ...], flows: Iterable[Flow]) -> Grid:
    pairs: dict[tuple[str, str], list[Flow]] = {}
    for flow in flows:
        pairs.setdefault((flow.source, flow.target), []).append(flow)
    return Grid(title, caption, names, {pair: _cell(found) for pair, found in pairs.items()})


def _cell(flows: list[Flow]) -> Cell:
    first = max(flows, key=_worse)
    bad = [flow for flow in flows if flow.verdict != "open"]
    status = Status.FAIL
    if first.verdict in ("open", "unknown"):
        status = Status.PASS if first.verdict == "open" else Status.UNKNOWN
    lines = [f"{first.source} → {first.target}: {len(flows) - len(bad)} of {len(flows)} open"]
    lines += [
        f"{label(f.protocol, f.port)}{f' {f.size} bytes' if f.size > 64 else ''}:"
        f" {VERDICTS.get(f.verdict, f.verdict)}{f' ({f.detail})' if f.detail else ''}"
        for f in bad
    ]
    return Cell(status, SHORT.get(first.verdict, "E"), "\n".join(lines))


def _mtu(title: str, names: tuple[str, ...], found: Iterable[PathMtu]) -> Grid:
    cells = {}
    for one in found:
        status = Status.PASS if one.size >= one.expected else Status.FAIL
        tip = f"{one.source} → {one.target}: {one.size} bytes, {one.expected} expected"
        if not one.size:
            status, tip = Status.UNKNOWN, f"{one.source} → {one.target}: not measured"
        cells[(one.source, one.target)] = Cell(status, str(one.size or "?"), tip)
    caption = "largest packet with don't-fragment set, in bytes"
    return Grid(title[0].upper() + title[1:], caption, names, cells, numbers=True)
