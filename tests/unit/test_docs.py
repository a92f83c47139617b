"""The documentation names what there is, and every page of a deploy says how to undo it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from underlay.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOYS = sorted(path.name for path in (ROOT / "deploys").glob("*.py"))


def _readme(name: str) -> str:
    return (ROOT / name).read_text()


def _rows(text: str) -> dict[str, str]:
    """deploys/x.py -> the page that its row leads to."""
    return dict(re.findall(r"^\| `deploys/(\w+\.py)` \|.*\((docs/[\w-]+\.md)\) \|$", text, re.M))


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_a_readme_lists_every_deploy_with_its_page_and_every_command(name: str) -> None:
    text = _readme(name)
    rows = _rows(text)
    assert sorted(rows) == DEPLOYS
    for page in rows.values():
        assert (ROOT / page).is_file(), page
    for command in COMMANDS:
        table = [line for line in text.splitlines() if line.startswith("| `underlay ")]
        told = re.findall(r"`(?:underlay )?([a-z-]+)", " ".join(table))
        assert command in told, f"{name} does not tell of `underlay {command}`"


def _commands(text: str) -> list[str]:
    """What a reader types: the lines of code blocks without what is said of them."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]


def test_both_readmes_say_the_same_in_the_same_order() -> None:
    english, chinese = (_readme(name) for name in ("README.md", "README.zh-CN.md"))
    assert list(_rows(english).items()) == list(_rows(chinese).items())
    assert _commands(english) == _commands(chinese)
    rows = r"^\| `underlay [^|]*\|"
    assert re.findall(rows, english, re.M) == re.findall(rows, chinese, re.M)
    assert english.count("\n## ") == chinese.count("\n## ")


@pytest.mark.parametrize("page", sorted(set(_rows(_readme("README.md")).values())))
def test_the_page_of_a_deploy_says_what_it_writes_and_how_to_undo_it(page: str) -> None:
    if page == "docs/rollback.md":
        headings = ["## By hand"]
    else:
        headings = ["## Files on the machine", "## Undo it by hand"]
    for heading in headings:
        assert heading in (ROOT / page).read_text().splitlines(), f"{page}: {heading}"


def test_the_site_has_every_page_once() -> None:
    nav = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    listed = re.findall(r"'([\w-]+\.md)'", nav)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_rights_of_every_deploy_are_told_and_every_ready_role_is_linked() -> None:
    text = (ROOT / "docs/rbac.md").read_text()
    first = text.partition("## In the Kubernetes API")[0]
    rows = [line.split(" | ") for line in first.splitlines() if line.startswith("| `")]
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(f"{name}.py" for name in told) == DEPLOYS
    assert all(len(row) == 3 for row in rows)
    files = {path.name for path in (ROOT / "docs/rbac").iterdir()}
    assert set(re.findall(r"\(rbac/([\w.-]+)\)", text)) == files


def test_what_shows_an_answer_of_the_threat_model_is_there() -> None:
    text = (ROOT / "docs/security.md").read_text()
    named = re.findall(r"`((?:tests|src)/[\w./-]+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*ROOT.glob("README*.md"), ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
