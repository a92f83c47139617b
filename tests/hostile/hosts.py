"""Hosts that answer every reading with something, so that deploys get as far as they can.

What a host would do is no matter here; what it is told to do is, and every word of that is kept.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

from underlay.facts.script import MARK
from underlay.features import FEATURES
from underlay.settings import Section

ROOT = Path(__file__).resolve().parent.parent.parent
#: Readings that an empty answer would stop at.
ANSWERS = {
    "size": ["2", "4096000"],
    "release": ["6.1.0-1-amd64", "debian"],
    "kernel": ["loaded"],
    "tools": ["wg", "ip", "iptables", "nft", "flock", "systemctl", "swanctl", "python3", "curl"],
    "uid": ["0"],
}
#: What the pre-flight's agent says when it has started.
AGENT = json.dumps(
    {"folder": "/run/underlay-preflight.x", "pid": 4194303, "clock": 0.0, "synchronised": True,
     "tool": "", "uid": 0, "listeners": []}
)  # fmt: skip

_RUN: Callable[..., Any] = FakeConnector.run_shell_command


class Heard:
    """Every command that a host was given; answer: what a host says to one.

    stdin: host -> what its last command was given on standard input; readings: host -> reading ->
    lines, in place of what any answer is made of.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[str] = []
        self.stdin: dict[str, list[str]] = {}
        self.readings: dict[str, dict[str, list[str]]] = {}
        self.answer: Callable[[str, str], tuple[bool, CommandOutput]] = self._anything
        heard = self
        original = _RUN

        def run(self: Any, command: Any, *words: Any, **named: Any) -> Any:
            heard.stdin[self.host.name] = list(named.get("_stdin") or [])
            return original(self, command, *words, **named)

        def lookup(self: Any, text: str) -> tuple[bool, CommandOutput]:
            heard.commands.append(text)
            return heard.answer(self.host.name, text)

        monkeypatch.setattr(FakeConnector, "run_shell_command", run)
        monkeypatch.setattr(FakeConnector, "_lookup_response", lookup)

    def _anything(self, host: str, text: str) -> tuple[bool, CommandOutput]:
        lines = [AGENT] if "python3 -IS" in text else []
        words = shlex.split(text)
        script = words[2] if words[:2] == ["sh", "-c"] else text
        for name in re.findall(rf"{MARK}([\w-]+)", script):
            lines += [
                f"{MARK}{name}",
                *self.readings.get(host, {}).get(name, _reading(name, script)),
            ]
        return True, CommandOutput([OutputLine("stdout", line) for line in lines])


def _reading(name: str, script: str) -> list[str]:
    if name == "values":
        return [f"{path}:1" for path in re.findall(r"/proc/sys/[\w./-]+", script)]
    if name == "would":
        asked = re.search(r"for m in ([^;]*);", script)
        return [f"{m} insmod /lib/{m}.ko" for m in shlex.split(asked.group(1))] if asked else []
    return ANSWERS.get(name, [])


def deploys_of(section: type[Section]) -> dict[str, Callable[[], object]]:
    """What the entry files of a section's feature call; of every feature for a shared section."""
    owners = [feature for feature in FEATURES if section in feature.sections] or FEATURES
    names = dict.fromkeys(name for feature in owners for name in feature.deploys)
    return {name: _deploy(ROOT / f"deploys/{name}.py") for name in names}


def _deploy(path: Path) -> Callable[[], object]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found: Callable[[], object] = getattr(
                importlib.import_module(node.module), node.names[0].name
            )
            return found
    raise AssertionError(f"{path} imports no deploy")
