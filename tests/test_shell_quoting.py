"""All shell goes to a host by one path: a StringCommand whose every word is a constant or quoted.

Read from the syntax. What it cannot see, that the words inside a script are quoted too, is shown by
running them: tests/hostile.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src/underlay"
MODULES = sorted(p for p in SOURCE.rglob("*.py") if "files" not in p.parts)
QUOTES = {"shlex.quote", "QuoteString", "quote"}


def violations(tree: ast.Module) -> Iterator[str]:
    """What does not go by that path, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _call(node)
        if isinstance(node, ast.FunctionDef):
            yield from _function(node)
        if isinstance(node, ast.ClassDef):
            yield from _fact(node)


def _name(node: ast.expr) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def _each(word: ast.expr) -> ast.expr:
    """What every word of `*(quote(x) for x in xs)` is."""
    if isinstance(word, ast.Starred) and isinstance(word.value, ast.GeneratorExp):
        return word.value.elt
    return word


def _call(node: ast.Call) -> Iterator[str]:
    name = _name(node)
    if name == "StringCommand":
        for word in node.args:
            constant = isinstance(word, ast.Constant) and isinstance(word.value, str)
            if not constant and _name(_each(word)) not in QUOTES:
                yield f"line {word.lineno}: a word of a command is not quoted: {ast.unparse(word)}"
    if name in {"os.system", "os.popen", "subprocess.getoutput"}:
        yield f"line {node.lineno}: {name}"
    for keyword in node.keywords:
        if keyword.arg == "shell" and ast.unparse(keyword.value) != "False":
            yield f"line {node.lineno}: shell={ast.unparse(keyword.value)}"


def _function(node: ast.FunctionDef) -> Iterator[str]:
    commands = {
        target.id
        for found in ast.walk(node)
        if isinstance(found, ast.Assign) and _name(found.value) == "StringCommand"
        for target in found.targets
        if isinstance(target, ast.Name)
    }
    for found in ast.walk(node):
        if isinstance(found, ast.Call) and _name(found).endswith(".run_shell_command"):
            given = found.args[0]
            if _name(given) != "StringCommand" and ast.unparse(given) not in commands:
                yield f"line {found.lineno}: run_shell_command({ast.unparse(given)})"
    decorators = {ast.unparse(each).partition("(")[0] for each in node.decorator_list}
    for found in ast.walk(node) if "operation" in decorators else ():
        if isinstance(found, ast.Yield) and isinstance(found.value, ast.Constant | ast.JoinedStr):
            yield f"line {found.lineno}: yields text and no command"


def _fact(node: ast.ClassDef) -> Iterator[str]:
    if not any("Fact" in ast.unparse(base) for base in node.bases):
        return
    for method in node.body:
        if not isinstance(method, ast.FunctionDef) or method.name != "command":
            continue
        for found in _own(method):
            if isinstance(found, ast.Return) and _name(found.value or ast.Constant(None)) not in {
                "self.run", "StringCommand",
            }:  # fmt: skip
                yield f"line {found.lineno}: a fact's command is {ast.unparse(found)}"


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Everything in a function but what is in functions inside it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef):
            yield node
            yield from _own(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_all_shell_goes_by_one_path(path: Path) -> None:
    found = list(violations(ast.parse(path.read_text())))
    assert not found, f"{path.relative_to(ROOT)}: {found}"


@pytest.mark.parametrize(
    "text",
    [
        "StringCommand(text)",
        'StringCommand("cat", path)',
        'StringCommand(f"cat {path}")',
        'StringCommand("cat", *paths)',
        'StringCommand("cat", *(str(path) for path in paths))',
        'os.system("x")',
        "subprocess.run(x, shell=True)",
        "def f(host):\n    host.run_shell_command(f'cat {path}')",
        "@operation()\ndef f():\n    yield f'rm {path}'",
        "class A(FactBase[str]):\n    def command(self, path):\n        return f'cat {path}'",
    ],
)
def test_a_violation_is_seen(text: str) -> None:
    assert list(violations(ast.parse(text)))


def test_what_goes_by_it_is_let_through() -> None:
    text = (
        "def f(host):\n"
        '    command = StringCommand("sh", "-c", shlex.quote(text))\n'
        "    host.run_shell_command(command)\n"
        '    host.run_shell_command(StringCommand("cat", "--", QuoteString(path)))\n'
        '    host.run_shell_command(StringCommand("cat", *(QuoteString(p) for p in paths)))\n'
    )
    assert not list(violations(ast.parse(text)))
