"""For people: one file without anything from elsewhere, with the matrix as a picture. Pure.

The rule: every text of a node is escaped; nothing a node says can become markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from underlay.checks.model import Status
from underlay.checks.report.model import Grid, Report
from underlay.checks.report.svg import picture
from underlay.checks.report.text import SIGNS

STYLE = """
:root{--ink:#1c2430;--dim:#667085;--line:#d9dee7;--back:#f6f7f9;--card:#fff;
--pass:#2f9e63;--fail:#d33a2c;--warn:#c77700;--unknown:#7a4fc0;--skipped:#98a2b3}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#9aa4b5;--line:#2d3542;
--back:#12161c;--card:#1a2029}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:24px;margin:0 0 2px}h2{font-size:17px;margin:34px 0 10px}
.dim{color:var(--dim)}.card{background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:14px 16px;margin:0 0 10px}
.tiles{display:flex;flex-wrap:wrap;gap:10px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-top:4px solid;border-radius:8px;
padding:8px 18px;min-width:110px}.tile b{display:block;font-size:26px;line-height:1.2}
.pass{color:var(--pass)}.fail{color:var(--fail)}.warn{color:var(--warn)}
.unknown{color:var(--unknown)}.skipped{color:var(--skipped)}
.problem{border-left:4px solid}.problem>*{color:var(--ink)}.problem p{margin:4px 0}
.problem .sign{font-weight:700;color:inherit}
.badge{font-size:12px;border:1px solid var(--line);border-radius:10px;
padding:1px 8px;margin-right:4px}
code{font:13px ui-monospace,monospace}.grids{display:flex;flex-wrap:wrap;gap:14px;
align-items:flex-start}
.grids .card{margin:0;overflow-x:auto}.grids h3{font-size:14px;margin:0}
.key span{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 5px 0 14px;
vertical-align:-1px}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:5px 10px 5px 0;
border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--dim);font-weight:500}
svg text{fill:var(--ink);font:11px ui-monospace,monospace}svg .in{fill:#fff}
"""
WORDS = {
    Status.FAIL: "failed", Status.UNKNOWN: "unknown", Status.WARN: "warned", Status.PASS: "passed",
    Status.SKIPPED: "skipped",
}  # fmt: skip
KEY = """<p class="dim key">Rows send, columns receive; point at a square for its whole story.
<span style="background:var(--pass)"></span>open
<span style="background:var(--fail)"></span>not open: T nothing arrives, L the reply is lost,
R refused, P prohibited by a firewall, C another program answers; sizes: the narrower, the redder
<span style="background:var(--unknown)"></span>unknown
<span style="background:var(--line)"></span>not asked</p>"""


def render(report: Report) -> str:
    """One HTML document."""
    change = f" for {report.change}" if report.change else ""
    title = escape(f"underlay {report.command}{change}: {report.inventory}")
    seed = f", sample of pairs with seed {report.seed}" if report.seed is not None else ""
    body = [
        f"<h1>{title}</h1>",
        f'<div class="dim">{escape(report.when)}, {len(report.hosts)} nodes,'
        f" {report.seconds:.1f} s{seed}</div>",
        '<div class="tiles">', *_tiles(report), "</div>",
        *_problems(report), *_grids(report), *_hosts(report), *_checks(report),
        *(f'<p class="dim">{escape(note)}</p>' for note in report.notes),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _tiles(report: Report) -> Iterator[str]:
    for status, word in WORDS.items():
        number = report.counts[status]
        if number or status is Status.FAIL:
            yield f'<div class="tile {status.value}"><b>{number}</b>{word}</div>'


def _problems(report: Report) -> Iterator[str]:
    found = list(report.problems())
    yield f"<h2>{'What to do' if found else 'Nothing to do'}</h2>"
    for result, finding in found:
        hosts = "".join(f'<span class="badge">{escape(name)}</span>' for name in finding.hosts[:12])
        rest = f"and {len(finding.hosts) - 12} more" if len(finding.hosts) > 12 else ""
        more = f'<span class="dim">{rest}</span>' if rest else ""
        yield (
            f'<div class="card problem {finding.status.value}">'
            f'<span class="sign">{SIGNS[finding.status]} {escape(result.title)}</span>'
            f' <code class="dim">{escape(result.id)}</code>'
            f"<p>{escape(finding.message)}</p>"
            f"<p><b>Do:</b> {escape(finding.remedy or result.remedy)}</p>"
            f'<p class="dim">{escape(result.why)} ({escape(result.anchor)})</p>{hosts}{more}</div>'
        )


def _grids(report: Report) -> Iterator[str]:
    if not report.grids:
        return
    yield f"<h2>Who reaches whom</h2>{KEY}<div class='grids'>"
    for number, grid in enumerate(report.grids):
        caption = f'<div class="dim">{escape(grid.caption)}</div>' if grid.caption else ""
        large = number == 0 or grid.numbers
        yield (
            f'<div class="card"><h3>{escape(grid.title)}</h3>{caption}{_count(grid)}'
            f"{picture(grid, large=large)}</div>"
        )
    yield "</div>"


def _count(grid: Grid) -> str:
    """In a word what the colours say."""
    states = [cell.status for cell in grid.cells.values()]
    bad, dark = states.count(Status.FAIL), states.count(Status.UNKNOWN)
    what = "too narrow" if grid.numbers else "not open"
    parts = []
    if bad:
        parts.append(f'<span class="fail">{bad} of {len(states)} pairs {what}</span>')
    if dark:
        parts.append(f'<span class="unknown">{dark} unknown</span>')
    if not parts:
        parts.append(f'<span class="pass">all {len(states)} pairs</span>')
    return f"<div>{', '.join(parts)}</div>"


def _hosts(report: Report) -> Iterator[str]:
    yield "<h2>Nodes</h2><div class='card'><table>"
    yield "<tr><th>node</th><th>groups</th><th>probed with</th></tr>"
    for host in report.hosts:
        lost = (
            f'<span class="fail">{escape(host.lost)}</span>'
            if host.lost
            else escape(host.tool or "-")
        )
        groups = escape(", ".join(host.groups))
        yield f"<tr><td>{escape(host.name)}</td><td>{groups}</td><td>{lost}</td></tr>"
    yield "</table></div>"


def _checks(report: Report) -> Iterator[str]:
    yield "<h2>Every check</h2><div class='card'><table>"
    yield "<tr><th></th><th>check</th><th>said</th></tr>"
    for result in report.results:
        said = result.reason or "; ".join(finding.message for finding in result.findings)
        status = result.status
        yield (
            f'<tr><td class="{status.value}">{SIGNS[status]}</td><td>{escape(result.title)}<br>'
            f'<code class="dim">{escape(result.id)}</code></td><td>{escape(said)}</td></tr>'
        )
    yield "</table></div>"
