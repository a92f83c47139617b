"""Every journal of a host: which changes were made, and how far each of them came."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay import journal
from underlay.facts.script import ScriptFact

_AT = "@@journal "


class Journals(ScriptFact[dict[str, tuple[journal.Entry, ...]]]):
    """Change to its entries, oldest first; empty on a host that was never changed."""

    @override
    def command(self) -> StringCommand:
        return self.run(
            {
                "journals": f"for f in {journal.ROOT}/*/journal.jsonl; do [ -f $f ] &&"
                f" printf '\\n%s%s\\n' '{_AT}' $f && cat $f; done"
            }
        )

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> dict[str, tuple[journal.Entry, ...]]:
        found: dict[str, list[str]] = {}
        change = ""
        for line in readings["journals"]:
            if line.startswith(_AT):
                change = line.split("/")[-2]
                found[change] = []
            elif change:
                found[change].append(line)
        return {change: journal.parse(lines) for change, lines in found.items()}
