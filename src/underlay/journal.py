"""The journal of a change: what was reached, and what was there before. Pure.

One JSON object per line in `/var/lib/underlay/<change>/journal.jsonl` on the host, append-only, no
secrets. A line cut short by a crash is the last one and is ignored: what it announced did not
happen, because every entry is written before the step that relies on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Where journals and snapshots live on a host.
ROOT = "/var/lib/underlay"


@dataclass(frozen=True)
class Entry:
    """One line of a journal.

    at: UTC time, RFC 3339; run: id of the run that wrote it; event: for example `snapshot` or a
    phase such as `switched`; data: JSON values, for example the previous values of changed keys.
    """

    at: str
    run: str
    event: str
    data: Mapping[str, object] = field(default_factory=dict)

    def line(self) -> str:
        """The entry as one line of JSON, without the line feed."""
        fields = {"at": self.at, "run": self.run, "event": self.event, "data": dict(self.data)}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def directory(change: str) -> str:
    """The folder of one kind of change on the host, for example `/var/lib/underlay/sysctl`."""
    return f"{ROOT}/{change}"


def path(change: str) -> str:
    """The journal file of one kind of change."""
    return f"{directory(change)}/journal.jsonl"


def parse(lines: Iterable[str]) -> tuple[Entry, ...]:
    """Entries in the order they were written; ValueError for a broken line that is not the last."""
    texts = [line for line in lines if line.strip()]
    entries: list[Entry] = []
    for number, text in enumerate(texts, start=1):
        try:
            raw = json.loads(text)
            data = dict(raw.get("data", {}))
            entries.append(Entry(raw["at"], raw["run"], raw["event"], data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(texts):
                break
            raise ValueError(f"journal line {number} is not an entry: {text[:80]!r}") from error
    return tuple(entries)


def last(entries: Iterable[Entry], event: str) -> Entry | None:
    """The latest entry of one event, or None."""
    found = [entry for entry in entries if entry.event == event]
    return found[-1] if found else None
