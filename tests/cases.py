"""Cases of the fixture tiers: one YAML file each, in a folder named `<module>.<name>`.

The rule: a case names every field it may contain, and the loader refuses any other, so that a
misspelt expectation fails instead of passing unseen.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml

from underlay.facts.script import MARK, ScriptFact

#: Every reading that a fact of this module takes; a case leaves out those that found nothing.
EMPTY = {
    "bird": "protocols routes",
    "kernel": "release loaded there would blacklist parameters files journal",
    "sysctl": "values read-only boot ours journal size kube-proxy",
    "cni": "devices files plugins bridge-nf subnet pods ways neighbours offload rule tools",
    "kube_proxy": "mode table device link local sets tables chains policies tools image kernel dns"
    " loaded there would journal",
}


def load(folder: Path, known: set[str]) -> list[Any]:
    """Every case below a folder as a pytest parameter of (`module.name`, its content)."""
    found = []
    for path in sorted(folder.glob("*.*/*.yaml")):
        case = yaml.safe_load(path.read_text())
        assert not set(case) - known, f"{path}: unknown {set(case) - known}"
        found.append(pytest.param(path.parent.name, case, id=f"{path.parent.name}/{path.stem}"))
    return found


def fact_class(name: str) -> type[ScriptFact[Any]]:
    """The fact `kernel.Modules` of `underlay.facts`."""
    module, _, kind = name.partition(".")
    found: type[ScriptFact[Any]] = getattr(
        importlib.import_module(f"underlay.facts.{module}"), kind
    )
    return found


def output(fact: str, readings: Mapping[str, str]) -> list[str]:
    """What the host prints for these readings, as lines."""
    names = EMPTY[fact.partition(".")[0]].split()
    assert not set(readings) - set(names), f"{fact} takes no reading {set(readings) - set(names)}"
    lines = []
    for name in names:
        lines += ["", MARK + name, *readings.get(name, "").splitlines()]
    return [*lines, "", MARK + "end"]


def plain(value: object) -> object:
    """A typed value as YAML would hold it."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(found) for key, found in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    return [plain(found) for found in value] if isinstance(value, tuple | list) else value
