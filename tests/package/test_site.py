"""The documentation becomes a site without a warning: no page is lost, no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

from tests.package.conftest import ROOT, run

LINK = re.compile(r'href="([^"#:]*)(?:#([^"]*))?"')


def test_the_site_builds_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    run("python3", "-m", "venv", str(tmp_path / "venv"))
    run(str(tmp_path / "venv/bin/pip"), "install", "--quiet", "mkdocs-material>=9.5")
    site = tmp_path / "site"
    config = str(ROOT / "mkdocs.yml")
    run(str(tmp_path / "venv/bin/mkdocs"), "build", "--quiet", "--strict", "-f", config,
        "-d", str(site))  # fmt: skip
    pages = {path: path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) >= len(list((ROOT / "docs").glob("*.md")))
    links = [(path, *found) for path, text in pages.items() for found in LINK.findall(text)]
    assert sum(bool(anchor) for _, _, anchor in links) > len(pages)
    lost = [
        (path.name, target, anchor)
        for path, target, anchor in links
        if not _leads(path, target, anchor, pages)
    ]
    assert lost == []


def _leads(path: Path, target: str, anchor: str, pages: dict[Path, str]) -> bool:
    place = (path.parent / target).resolve() if target else path
    if place.is_dir():
        place = place / "index.html"
    if place not in pages:
        return place.exists()
    return not anchor or f'id="{anchor}"' in pages[place]
