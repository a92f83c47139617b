"""The shape of the tree: layers, sizes, names, documentation. Read from the syntax, nothing is run.

Layers from the outside in; an import goes inwards only:

    cli, deploys      lab                      (entry points; the lab knows no feature)
    features          one folder per capability
    operations        what changes a host
    facts             what reads a host
    cluster           the Kubernetes API
    settings, journal, render, rolling, errors ...   know nothing of the above
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src/underlay"
#: Longest module; the rule of the house says 300 lines.
LINES = 300
LAYERS = {
    "__main__": 6, "cli": 5, "run_guard": 4, "inventory": 3, "lab": 3, "features": 3,
    "operations": 2, "facts": 1, "cluster": 1,
}  # fmt: skip
#: Names that tell a reader nothing.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
#: What pyinfra takes out of every operation's arguments; one of ours by that name would vanish.
RESERVED = {"name", "_sudo", "_if", "_ignore_errors", "_serial", "_run_once", "_timeout", "_env"}

#: Programs that run on lab machines are data to the package.
MODULES = sorted(p for p in SOURCE.rglob("*.py") if "files" not in p.parts)
ENTRIES = sorted((ROOT / "deploys").glob("*.py"))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _package(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_a_module_is_small_named_and_documented(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES
    assert path.stem not in EMPTY_NAMES
    assert ast.get_docstring(_tree(path)), "a module says what it is"
    for node in ast.walk(_tree(path)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.FunctionDef) and any(
            isinstance(d, ast.Name) and d.id == "override" for d in node.decorator_list
        ):
            continue
        if not _public(path, node):
            continue
        assert ast.get_docstring(node), f"{node.name} has no docstring"


def _public(path: Path, wanted: ast.FunctionDef | ast.ClassDef) -> bool:
    """At the top of its module, or a method of a public class there that overrides nothing."""
    for node in _tree(path).body:
        if node is wanted:
            return True
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_") or node.bases:
            continue
        if wanted in node.body:
            return True
    return False


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_imports_go_inwards(path: Path) -> None:
    own = LAYERS.get(_package(path), 0)
    for name in _imports(path):
        if not name.startswith("underlay."):
            continue
        other = name.split(".")[1]
        if other == _package(path):
            continue
        assert LAYERS.get(other, 0) <= own, f"{_id(path)} imports {name}, which lies further out"
        assert (_package(path), other) not in {("lab", "features"), ("features", "lab")}


def test_only_one_module_knows_the_command_line_of_pyinfra() -> None:
    found = {_id(p) for p in MODULES for name in _imports(p) if name.startswith("pyinfra_cli")}
    assert found == {"src/underlay/inventory.py"}


def test_only_one_module_runs_a_command_by_itself() -> None:
    """What runs one elsewhere forgets the user that the run becomes."""
    found = {_id(p) for p in MODULES if "run_shell_command" in ast.dump(_tree(p))}
    assert found == {"src/underlay/direct.py"}


def test_a_feature_imports_no_more_of_another_than_its_settings() -> None:
    for path in (SOURCE / "features").rglob("*.py"):
        parts = path.relative_to(SOURCE / "features").parts
        if len(parts) == 1:
            continue
        for name in _imports(path):
            found = re.match(r"underlay\.features\.(\w+)\.(?!settings)", name)
            if found and (SOURCE / "features" / found.group(1)).is_dir():
                assert found.group(1) == parts[0], f"{_id(path)} imports {name}"


def test_what_is_kept_of_a_run_is_found_by_its_inventory() -> None:
    """A `state` may be pyinfra's stand-in: one object for all runs of a process, whose hash is that
    of the run of the moment, so that a later run could be given what an earlier one has read.
    """
    assert [_id(p) for p in MODULES if "WeakKeyDictionary[State" in p.read_text()] == []


def test_operations_take_no_reserved_argument() -> None:
    for path in MODULES:
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.FunctionDef):
                continue
            decorators = {ast.unparse(d).split("(")[0] for d in node.decorator_list}
            if "operation" not in decorators:
                continue
            names = {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
            assert not names & RESERVED, f"{_id(path)}: {node.name}"
            assert not any(name.startswith("_") for name in names)


@pytest.mark.parametrize("path", ENTRIES, ids=_id)
def test_an_entry_file_only_calls_its_deploy(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 12
    assert ast.get_docstring(_tree(path))
    assert f"deploys/{path.name}" in (ROOT / "README.md").read_text()


def test_every_feature_has_a_deploy_and_a_page() -> None:
    calls = "\n".join(path.read_text() for path in ENTRIES)
    for folder in sorted((SOURCE / "features").iterdir()):
        if not folder.is_dir() or folder.name.startswith("__"):
            continue
        assert f"underlay.features.{folder.name}" in calls, f"no deploy calls {folder.name}"
        pages = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
        assert f"`{folder.name}`" in pages, f"no page in docs/ explains the section {folder.name}"


def test_the_two_commands_stand_first_in_the_readme() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        commands = re.findall(r"^make (\w+)", (ROOT / name).read_text(), re.MULTILINE)
        assert commands[:2] == ["demo", "test"], name


@pytest.mark.parametrize("kind", ["py", "md", "sh", "yaml", "yml", "json"])
def test_no_file_holds_both_sides_of_a_merge(kind: str) -> None:
    folders = ("src", "deploys", "docs", "templates", "inventories", "group_data", "tests",
               "molecule", "bench")  # fmt: skip
    files = [
        *ROOT.glob(f"*.{kind}"),
        *(p for name in folders for p in (ROOT / name).rglob(f"*.{kind}")),
    ]
    mark = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    assert [_id(path) for path in files if mark.search(path.read_text())] == []
