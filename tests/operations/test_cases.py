"""Each file beside this one is a case of an operation.

readings: what the fact read; arguments; then one of script (the exact shell text), noop (its exact
words) or fails (every sentence); notes: all of them. A key of `wanted` that ends in `>=` is a
minimum.
"""

from __future__ import annotations

import importlib
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.command import FunctionCommand
from tests import cases

from underlay.operations import outcome
from underlay.operations.sysctl import Wanted

KNOWN = {"about", "readings", "arguments", "script", "noop", "fails", "notes"}
FACTS = {"kernel_modules": "kernel.Modules", "sysctl": "sysctl.Sysctls"}


class Host:
    """What an operation sees of a host: one fact, read by its own type, and where words go."""

    name = "n1"
    state = SimpleNamespace(config=SimpleNamespace(DIFF=False))

    def __init__(self, fact: str, readings: Mapping[str, str]) -> None:
        self._fact, self._readings = fact, readings
        self.noops: list[str] = []
        self.notes: list[str] = []

    def get_fact(self, kind: Any, **arguments: Any) -> Any:
        assert kind is cases.fact_class(self._fact)
        kind().command(**arguments)
        return kind().process(cases.output(self._fact, self._readings))

    def noop(self, text: str) -> None:
        self.noops.append(text)

    def log(self, text: str, *_: object) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(("name", "case"), cases.load(Path(__file__).parent, KNOWN))
def test_case(name: str, case: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, operation = name.partition(".")
    code = importlib.import_module(f"underlay.operations.{module}")
    host = Host(FACTS[module], case["readings"])
    monkeypatch.setattr(code, "host", host)
    monkeypatch.setattr(outcome, "now", lambda: "2026-01-01T00:00:00Z")
    monkeypatch.setattr(outcome, "RUN", "run1")
    commands = list(getattr(code, operation)._inner(**arguments_of(case["arguments"])))
    failures = [text for c in commands if isinstance(c, FunctionCommand) for text in c.args[0]]
    scripts = [shlex.split(str(c))[2] for c in commands if not isinstance(c, FunctionCommand)]
    assert host.notes == case.get("notes", [])
    assert host.noops == ([case["noop"]] if "noop" in case else [])
    assert failures == case.get("fails", [])
    assert [text + "\n" for text in scripts] == ([case["script"]] if "script" in case else [])
    for text in scripts:
        subprocess.run(["sh", "-n", "-c", text], check=True)
    assert {"script", "noop", "fails"} & set(case), "a case says what comes of it"


def arguments_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a case, typed."""
    if not isinstance(found["wanted"], dict):
        return dict(found)
    wanted = {
        key.removesuffix(">="): Wanted(str(value), at_least=key.endswith(">="))
        for key, value in found["wanted"].items()
    }
    return {**found, "wanted": wanted}
