"""The computer's own apt sources, turned into those of another suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay.errors import LabError
from underlay.lab.sources import for_suite, options_of, own_sources

KEY = """Types: deb
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFit
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_a_key_over_several_lines_is_kept_whole() -> None:
    found = for_suite(KEY, "bookworm", "trixie")
    assert "Suites: trixie trixie-updates" in found
    assert " -----END PGP PUBLIC KEY BLOCK-----" in found


def test_sid_has_neither_updates_nor_security() -> None:
    assert "Suites: sid\n" in for_suite(KEY, "bookworm", "sid")


def test_third_party_archives_are_left_out() -> None:
    other = KEY.replace("bookworm bookworm-updates", "stable")
    assert for_suite(f"{KEY}\n\n{other}", "bookworm", "trixie").count("URIs:") == 1


def test_no_archive_of_the_distribution_is_an_error() -> None:
    with pytest.raises(LabError, match="name no 'bookworm' archive"):
        for_suite(KEY.replace("bookworm", "stable"), "bookworm", "trixie")


def test_one_line_entries_become_stanzas(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://old.invalid x main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.invalid/debian bookworm main contrib\n"
    )
    found = own_sources(tmp_path)
    assert "Architectures: amd64" in found
    assert "Signed-By: /k.gpg" in found
    assert "Components: main contrib" in found
    assert "old.invalid" not in found


def test_a_lab_reads_archives_as_this_computer_does() -> None:
    dump = """APT::Architecture "amd64";
Acquire::Check-Valid-Until "false";
Acquire::http::Proxy "http://127.0.0.1:3128";
Acquire::Languages "none";
Acquire::Retries "";
"""
    assert options_of(dump) == [
        'Acquire::Check-Valid-Until "false"',
        'Acquire::http::Proxy "http://127.0.0.1:3128"',
    ]
