"""The page of the kernel settings has the profiles as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

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
