"""The journal reads back what was written, and survives a line cut short."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from underlay import journal
from underlay.journal import Entry
from underlay.operations.files import append_entry

FIRST = Entry("2026-01-01T00:00:00Z", "r1", "snapshot", {"mode": "iptables", "text": "a'b\"\n"})
SECOND = Entry("2026-01-01T00:00:01Z", "r1", "switched")


def test_entries_read_back() -> None:
    assert journal.parse([FIRST.line(), SECOND.line()]) == (FIRST, SECOND)


def test_a_last_line_cut_short_is_ignored() -> None:
    assert journal.parse([FIRST.line(), SECOND.line()[:20]]) == (FIRST,)


def test_a_broken_line_in_the_middle_is_an_error() -> None:
    with pytest.raises(ValueError, match="journal line 1"):
        journal.parse(["{", FIRST.line()])


def test_last_finds_the_latest() -> None:
    assert journal.last([FIRST, SECOND], "snapshot") == FIRST
    assert journal.last([SECOND], "snapshot") is None


def test_append_drops_a_line_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "ROOT", str(tmp_path))
    target = Path(journal.path("test"))
    subprocess.run(["sh", "-c", append_entry("test", FIRST)], check=True)
    with target.open("a") as file:
        file.write(SECOND.line()[:20])
    subprocess.run(["sh", "-c", append_entry("test", SECOND)], check=True)
    assert journal.parse(target.read_text().splitlines()) == (FIRST, SECOND)
