"""The topology as a picture: the first hub in the middle, the others around it. Pure, SVG text."""

from __future__ import annotations

import math
from html import escape
from itertools import combinations

from underlay.features.wireguard import plan
from underlay.features.wireguard.settings import Overlay

#: Size of a member's box, and the free space around everything.
WIDTH, HEIGHT, MARGIN = 190, 58, 40
TITLE = 64
#: role -> fill, line
COLOURS = {
    "hub": ("#dbeafe", "#1d4ed8"),
    "standby": ("#e0e7ff", "#6366f1"),
    "spoke": ("#f1f5f9", "#64748b"),
}
_STYLE = (
    "text{font-family:ui-sans-serif,system-ui,'DejaVu Sans',sans-serif;fill:#0f172a}"
    ".n{font-size:14px;font-weight:600}.a{font-size:11.5px;fill:#334155}"
    ".t{font-size:17px;font-weight:600}.s{font-size:12px;fill:#475569}"
    ".k{font-size:11px;fill:#475569}"
)


def draw(overlays: dict[str, Overlay]) -> str:
    """One drawing, overlays below each other."""
    parts: list[str] = []
    top = 0.0
    width = 0.0
    for name, overlay in overlays.items():
        text, size = _overlay(name, overlay)
        parts.append(f'<g transform="translate(0 {top:.0f})">{text}</g>')
        top += size[1]
        width = max(width, size[0])
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {top:.0f}"'
        f' width="{width:.0f}" height="{top:.0f}" role="img">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _overlay(name: str, overlay: Overlay) -> tuple[str, tuple[float, float]]:
    places, size = _places(overlay)
    parts = [_title(name, overlay)]
    parts += [
        _line(overlay, one, other, places[one], places[other])
        for one, other in combinations(overlay.members, 2)
        if plan.linked(overlay, one, other)
    ]
    parts += [_box(overlay, host, *places[host]) for host in overlay.members]
    parts.append(_legend(overlay, size[1]))
    return "\n".join(parts), size


def _places(overlay: Overlay) -> tuple[dict[str, tuple[float, float]], tuple[float, float]]:
    """Centre of each box: an ellipse wide enough that neighbours do not touch."""
    centre = overlay.hubs[0] if overlay.hubs else next(iter(overlay.members))
    around = [host for host in overlay.members if host != centre]
    count = max(len(around), 1)
    across = max(WIDTH + 90.0, count * (WIDTH + 24) / (2 * math.pi))
    down = max(HEIGHT + 80.0, count * (HEIGHT + 34) / 4.2)
    middle = (MARGIN + WIDTH / 2 + across, TITLE + MARGIN + HEIGHT / 2 + down)
    places = {centre: middle}
    for number, host in enumerate(around):
        # two members lie beside the centre, not above and below it
        angle = 2 * math.pi * number / count + (math.pi if count <= 2 else math.pi / 2)
        places[host] = (
            middle[0] + across * math.cos(angle),
            middle[1] - down * math.sin(angle),
        )
    if count <= 2:
        down = 0
        places = {host: (x, TITLE + MARGIN + HEIGHT / 2) for host, (x, _) in places.items()}
    return places, (2 * middle[0], TITLE + 2 * MARGIN + HEIGHT + 2 * down + 30)


def _title(name: str, overlay: Overlay) -> str:
    hops = " → ".join(map(str, plan.sizes(overlay, next(iter(overlay.members)))))
    second = f"{overlay.overlay_cidr}, UDP {overlay.port}, MTU {hops}"
    return (
        f'<text class="t" x="{MARGIN}" y="32">{escape(name)}</text>'
        f'<text class="s" x="{MARGIN}" y="52">{escape(second)}</text>'
    )


def _line(
    overlay: Overlay, one: str, other: str, a: tuple[float, float], b: tuple[float, float]
) -> str:
    roles = {plan.role(overlay, one), plan.role(overlay, other)}
    if roles == {"spoke"}:
        look = 'stroke="#059669" stroke-width="2"'
    elif "hub" in roles:
        look = 'stroke="#1d4ed8" stroke-width="2"'
    else:
        look = 'stroke="#6366f1" stroke-width="1.5" stroke-dasharray="5 4"'
    return f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" {look}/>'


def _box(overlay: Overlay, host: str, x: float, y: float) -> str:
    node = overlay.members[host]
    role = plan.role(overlay, host)
    fill, line = COLOURS[role]
    left, top = x - WIDTH / 2, y - HEIGHT / 2
    where = "behind NAT" if node.behind_nat else node.endpoint or "endpoint per peer"
    head = f"{host} ({role})" if role not in ("spoke", host) else host
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="8"'
        f' fill="{fill}" stroke="{line}"/>'
        f'<text class="n" x="{x:.1f}" y="{top + 19:.1f}" text-anchor="middle">'
        f"{escape(_short(head, 22))}</text>"
        f'<text class="a" x="{x:.1f}" y="{top + 35:.1f}" text-anchor="middle">{node.address}</text>'
        f'<text class="a" x="{x:.1f}" y="{top + 50:.1f}" text-anchor="middle">'
        f"{escape(_short(where, 29))}</text>"
    )


def _legend(overlay: Overlay, height: float) -> str:
    entries = [("#1d4ed8", "", "session with the hub")]
    if len(overlay.hubs) > 1:
        entries.append(("#6366f1", ' stroke-dasharray="5 4"', "session with a hub that stands by"))
    if any(node.direct for node in overlay.members.values()):
        entries.append(("#059669", "", "direct link between spokes"))
    parts = []
    x = float(MARGIN)
    for colour, dash, text in entries:
        y = height - 18
        parts.append(
            f'<line x1="{x:.0f}" y1="{y - 4:.0f}" x2="{x + 26:.0f}" y2="{y - 4:.0f}"'
            f' stroke="{colour}" stroke-width="2"{dash}/>'
            f'<text class="k" x="{x + 32:.0f}" y="{y:.0f}">{text}</text>'
        )
        x += 52 + 6.2 * len(text)
    return "".join(parts)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
