"""A matrix of pairs as one inline SVG. Pure.

Pairs that are as they should be are one path together, so that 100 nodes stay a small file; every
other pair is a square of its own that tells its whole sentence when it is pointed at.
"""

from __future__ import annotations

from html import escape

from underlay.checks.model import Status
from underlay.checks.report.model import Cell, Grid

#: Longest name that is written out.
NAME = 18
#: Width of a column, in pixels, above which its name stands over it.
SLANTED = 20


def picture(grid: Grid, *, large: bool) -> str:
    """The SVG text. large: with names at the rows, and numbers in the cells where they fit."""
    count = len(grid.names)
    side = _side(count, large)
    longest = max((len(name[:NAME]) for name in grid.names), default=0)
    left = (longest + 4) * 7 if large else 8
    slanted = large and side >= SLANTED
    top = 8 + (round(longest * 5.5) + 14 if slanted else 12 if large else 0)
    # the last slanted name leans over the edge
    over = round(longest * 3.5) if slanted else 0
    width, height = left + count * side + 8 + over, top + count * side + 8
    at = {name: number for number, name in enumerate(grid.names)}
    good: list[str] = []
    marks: list[str] = []
    texts: list[str] = []
    sizes = sorted({int(c.text) for c in grid.cells.values() if c.text.isdigit()})
    for (row, column), cell in grid.cells.items():
        x, y = left + at[column] * side, top + at[row] * side
        box = side - max(1, side // 12)
        if cell.status is Status.PASS:
            good.append(f"M{x} {y}h{box}v{box}h-{box}z")
        else:
            marks.append(_square(cell, x, y, box, sizes))
        if side >= 8 + 7 * len(cell.text):
            texts.append(
                f'<text class="in" x="{x + box / 2:g}" y="{y + box / 2 + 4:g}"'
                f' text-anchor="middle">{escape(cell.text)}</text>'
            )
    parts = [
        f'<svg role="img" aria-label="{escape(grid.title)}" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">',
        f'<rect x="{left}" y="{top}" width="{count * side}" height="{count * side}"'
        ' fill="var(--line)" opacity=".35"/>',
        f'<path fill="var(--pass)" d="{"".join(good)}"/>', *marks, *texts,
        *(_names(grid, left, top, side) if large else []), "</svg>",
    ]  # fmt: skip
    return "".join(parts)


def _side(count: int, large: bool) -> int:
    """Width of a cell, so that the picture stays on a page."""
    room, most = (760, 44) if large else (240, 22)
    return max(5, min(most, room // max(count, 1)))


def _square(cell: Cell, x: int, y: int, box: int, sizes: list[int]) -> str:
    fill = f"var(--{cell.status.value})"
    if cell.text.isdigit() and len(sizes) > 1:
        # the narrower, the hotter
        share = (int(cell.text) - sizes[0]) / (sizes[-1] - sizes[0])
        fill = f"hsl({8 + round(32 * share)} 75% 48%)"
    tip = escape(cell.tip)
    size = f'x="{x}" y="{y}" width="{box}" height="{box}"'
    return f'<rect {size} fill="{fill}"><title>{tip}</title></rect>'


def _names(grid: Grid, left: int, top: int, side: int) -> list[str]:
    if side < 9:
        return []
    found = []
    for number, name in enumerate(grid.names):
        middle = top + number * side + side / 2 + 3
        found.append(
            f'<text x="{left - 8}" y="{middle:g}" text-anchor="end">{escape(name[:NAME])}'
            f" {number + 1}</text>"
        )
        x = left + number * side + side / 2 - 1
        if side >= SLANTED:
            found.append(
                f'<text transform="translate({x + 4:g} {top - 5}) rotate(-58)">'
                f"{number + 1} {escape(name[:NAME])}</text>"
            )
        elif side >= 14:
            found.append(f'<text x="{x:g}" y="{top - 6}" text-anchor="middle">{number + 1}</text>')
    return found
