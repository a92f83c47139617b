"""What a person learns from the command itself: examples in every help, and completion."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from underlay.cli import COMMANDS, group, run


def every(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The words of each command that does something."""
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from every(found, (*path, name))


PATHS = list(every(group, ()))


def _help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*path, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_the_help_of_every_command_teaches_by_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = _help(path, capsys)
    lines = [line.strip() for line in text.splitlines()]
    words = f"underlay {' '.join(path)}"
    examples = [line for line in lines if line == words or line.startswith(f"{words} ")]
    assert examples, f"no example; write lines such as `{words} inventory.py` into its docstring"
    assert all(len(line) <= 80 for line in text.splitlines()), text
    for example in examples:
        # an explanation stands behind two spaces
        given = shlex.split(re.split(r" {2,}| && | > | [|] ", example)[0])[1:]
        _parses(given)


def _parses(given: list[str]) -> None:
    """Whether click takes these words; a value that names no file is the reader's business."""
    context = click.Context(group)
    command: click.Command = group
    words = list(given)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, given
        command = found
    wrong = ""
    try:
        command.make_context("underlay", words)
    except click.BadParameter as error:
        wrong = str(error)
    assert not wrong or "does not exist" in wrong, given


GROUPS = [
    name
    for name in COMMANDS
    if isinstance(group.get_command(click.Context(group), name), click.Group)
]


@pytest.mark.parametrize("name", GROUPS)
def test_the_help_of_a_group_begins_with_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    above = _help((name,), capsys).partition("Options:")[0]
    lines = [line.strip() for line in above.splitlines()[1:]]
    examples = [line for line in lines if line.startswith(f"underlay {name} ")]
    assert len(examples) > 1, above
    for example in examples:
        _parses(shlex.split(re.split(r" {2,}| && | > | [|] ", example)[0])[1:])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_every_shell(shell: str) -> None:
    done = _complete(f"{shell}_source", "", 0)
    assert done.returncode == 0
    assert "_UNDERLAY_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("words", "at", "found"),
    [
        ("underlay pre", 1, ["preflight"]),
        ("underlay ", 1, sorted(COMMANDS)),
        ("underlay lab s", 2, ["sniff", "ssh", "ssh-config", "status"]),
        ("underlay preflight --fail-on ", 3, ["fail", "warn"]),
        ("underlay schema --form", 2, ["--format"]),
    ],
)
def test_a_word_is_completed(words: str, at: int, found: list[str]) -> None:
    done = _complete("bash_complete", words, at)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == found, done.stderr


@pytest.mark.parametrize(
    ("how", "at", "line"),
    [("bash_complete", "1", "plain,preflight"), ("zsh_complete", "1", "plain\npreflight\n"),
     ("fish_complete", "pre", "preflight")],
)  # fmt: skip
def test_each_shell_gets_a_word_in_its_own_form(how: str, at: str, line: str) -> None:
    done = _complete(how, "underlay pre", at)
    assert done.returncode == 0, done.stderr
    assert line in done.stdout
    assert "verify" not in done.stdout


def test_the_name_of_an_inventory_is_left_to_the_shell() -> None:
    done = _complete("bash_complete", "underlay settings inv", 2)
    assert done.stdout.startswith("file,"), done.stdout


def _complete(how: str, words: str, at: int | str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "_UNDERLAY_COMPLETE": how,
        "COMP_WORDS": words,
        "COMP_CWORD": str(at),
    }
    code = "import sys; sys.argv[0] = 'underlay'; from underlay.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
