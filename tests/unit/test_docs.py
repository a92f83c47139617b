"""The documentation names what there is, and every page of a deploy says how to undo it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from underlay import journal
from underlay.cli import COMMANDS
from underlay.facts import guard, ipsec_host, wireguard_host
from underlay.features import all_sections
from underlay.operations import (
    flannel_device,
    ipsec_plan,
    ipsec_script,
    kernel_modules,
    sysctl_script,
    watch,
    wireguard_plan,
)
from underlay.settings import Section
from underlay.settings.models import parts

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


#: Section -> the page that has its table of settings.
SETTINGS = {
    "cluster": "settings.md", "network": "preflight.md", "kernel_modules": "kernel-modules.md",
    "sysctl": "sysctl.md", "kube_proxy": "proxy-mode.md", "preflight": "preflight.md",
    "wireguard": "wireguard.md", "route_reflectors": "route-reflectors.md",
    "flannel": "flannel.md", "calico": "calico.md", "ipsec": "ipsec.md",
}  # fmt: skip


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
def test_a_page_names_every_setting_and_leads_to_its_source(section: type[Section]) -> None:
    page = (ROOT / "docs" / SETTINGS[section.KEY]).read_text()
    assert f"(settings-reference.md#{section.KEY})" in page
    for path, model in {"": section, **parts(section)}.items():
        for name in model.model_fields:
            named = re.search(rf"[`\".*{{ ]{name}[`\": ]", page)
            assert named, f"docs/{SETTINGS[section.KEY]} does not name {section.KEY}.{path}.{name}"


#: Page -> what its deploy writes on a machine.
WRITTEN = {
    "kernel-modules.md": (kernel_modules.LOAD_FILE, kernel_modules.OPTIONS_FILE,
                          journal.path(kernel_modules.CHANGE)),
    "sysctl.md": (sysctl_script.PATH, journal.path(sysctl_script.CHANGE)),
    "flannel.md": (flannel_device.RULE,),
    "wireguard.md": (*wireguard_plan.SHARED, journal.path(wireguard_host.CHANGE),
                     guard.folder(wireguard_host.CHANGE), wireguard_host.FOLDER),
    "ipsec.md": (*ipsec_plan.SHARED, f"{journal.directory(ipsec_host.CHANGE)}/",
                 guard.folder(ipsec_host.CHANGE), *ipsec_script.of_link("LINK")),
    "proxy-mode.md": (journal.path("kube_proxy"), watch._FOLDER),
    "route-reflectors.md": (journal.path("route_reflectors"),),
}  # fmt: skip


def _shown(files: str) -> set[str]:
    """Paths of a table's first column; `a.env`, `.peers` and `b/`, `c/d` stand for all of them."""
    found: set[str] = set()
    for row in re.findall(r"^\| (`/[^|]*) \|", files, re.M):
        last = ""
        for word in re.findall(r"`([^`]+)`", row):
            if word.startswith("."):
                last = last[: last.rindex(".")] + word
            else:
                last = (
                    word
                    if word.startswith("/")
                    else f"{last.rstrip('/').rpartition('/')[0]}/{word}"
                )
            found.add(last)
    return found


@pytest.mark.parametrize("page", WRITTEN)
def test_a_page_tells_of_every_file_that_its_deploy_writes(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    files = text.partition("## Files on the machine\n")[2].partition("\n## ")[0]
    for path in WRITTEN[page]:
        told = any(
            fnmatchcase(path, shown) or (path + "/").startswith(shown.rstrip("/") + "/")
            or shown.startswith(path + "/")
            for shown in _shown(files)
        )  # fmt: skip
        assert told, f"docs/{page} does not tell of {path}"


def test_the_quick_start_lists_every_deploy() -> None:
    table = (ROOT / "docs/index.md").read_text().partition("## Which deploy\n")[2]
    told = re.findall(r"\[([\w, ]+)\]\([\w-]+\.md\)", table.partition("\n## ")[0])
    names = {name for words in told for name in words.split(", ")}
    missing = {name.removesuffix(".py") for name in DEPLOYS} - names
    assert not missing, f"docs/index.md does not list {', '.join(sorted(missing))}"


def test_every_test_that_the_page_of_bad_days_names_is_there() -> None:
    table, _, listed = (ROOT / "docs/robustness.md").read_text().partition("\n## The tests\n")
    named = re.findall(r"^- (\w) `([\w/.]+)::(\w+)`$", listed, re.M)
    assert len(named) == len(re.findall(r"^- ", listed, re.M))
    for letter, path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{letter}: {path} has no {name}"
    cells = [row.rpartition("|")[0].rpartition("|")[2] for row in table.splitlines() if "|" in row]
    used = {letter for cell in cells[2:] for letter in cell.strip().split(", ") if letter}
    assert used == {letter for letter, _, _ in named}


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
