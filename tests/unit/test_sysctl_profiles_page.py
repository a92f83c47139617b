"""What is written about profiles of kernel settings is what they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from underlay.checks.model import Check
from underlay.features.preflight.checks import CHECKS
from underlay.features.preflight.scene import Scene
from underlay.features.sysctl.profiles import PROFILES

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/sysctl.md"


@pytest.mark.parametrize("name", PROFILES)
def test_the_page_has_every_value_of_a_profile_and_no_other(name: str) -> None:
    _, _, rest = PAGE.read_text().partition(f"### {name}\n\n")
    rows = [line for line in rest.partition("\n\n")[0].splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{key}` | {'at least ' if entry.wanted.at_least else ''}`{entry.wanted.value}`"
        f" | {entry.why} |"
        for key, entry in PROFILES[name].items()
    ]


@pytest.mark.parametrize(
    "check", [found for found in CHECKS if "profile " in found.remedy], ids=lambda found: found.id
)
def test_a_remedy_names_a_profile_that_has_its_keys(check: Check[Scene]) -> None:
    (name,) = re.findall(r"profile ([\w-]+) of deploys/sysctl\.py", check.remedy)
    keys = re.findall(r"\w*(?:gc_thresh|nf_conntrack)\w+", check.remedy)
    assert keys
    for key in keys:
        assert any(each.endswith(f".{key}") for each in PROFILES[name]), f"{name} has no {key}"
