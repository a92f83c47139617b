"""Services tried again and again on a node while its kube-proxy is switched.

The rule: it measures and decides nothing. It ends by itself when nobody comes to collect it, and a
node without python3 is told as not measured.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay.facts.script import ScriptFact
from underlay.render import source

_FOLDER = "/run/underlay-watch"
#: Milliseconds between two tries of one target.
INTERVAL = 100


@dataclass(frozen=True)
class Watched:
    """What was seen of one target: `PROTOCOL/ADDRESS/PORT`, tries, failed ones, longest gap."""

    target: str
    tries: int
    failed: int
    longest_gap_ms: int

    def to_json(self) -> dict[str, object]:
        """For the journal."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.target}: {self.failed} of {self.tries} tries failed, longest gap"
            f" {self.longest_gap_ms / 1000:.1f} s"
        )


class Started(ScriptFact[bool]):
    """Start the watch; whether it runs."""

    @override
    def command(self, targets: Sequence[str], seconds: int) -> StringCommand:
        return self.run({"started": start(targets, seconds)})

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> bool:
        return readings["started"] == ["started"]


class Collected(ScriptFact[tuple[Watched, ...]]):
    """End the watch and read what it saw; empty when none ran."""

    @override
    def command(self) -> StringCommand:
        return self.run({"watched": collect()})

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> tuple[Watched, ...]:
        return tuple(Watched(**entry) for line in readings["watched"] for entry in json.loads(line))


def start(targets: Sequence[str], seconds: int) -> str:
    """Shell text: one that is left from an earlier run is ended first."""
    script = shlex.quote(source("kube_proxy/watch.py"))
    words = " ".join(shlex.quote(word) for word in (str(seconds), str(INTERVAL), *targets))
    return (
        f"command -v python3 >/dev/null || exit 0; {_stop()}; mkdir -p -m 0700 {_FOLDER};"
        f" setsid python3 -c {script} {words} >{_FOLDER}/seen 2>/dev/null </dev/null &"
        f" echo $! >{_FOLDER}/pid; sleep 0.3; [ -d /proc/$! ] && echo started"
    )


def collect() -> str:
    """Shell text that prints one line of JSON, nothing when no watch ran."""
    return f"{_stop()}; cat {_FOLDER}/seen; rm -rf {_FOLDER}"


def _stop() -> str:
    """End the watch of the pid file, if that pid is still a watch, and wait for its report."""
    return (
        f'p=$(cat {_FOLDER}/pid 2>/dev/null); if [ -n "$p" ] && grep -q python3 /proc/$p/cmdline'
        " 2>/dev/null; then kill -TERM $p; i=0; while [ -d /proc/$p ] && [ $i -lt 60 ]; do"
        " sleep 0.1; i=$((i+1)); done; fi"
    )
