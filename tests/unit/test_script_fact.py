"""One command takes several readings and tells a broken-off one from an empty one."""

from __future__ import annotations

import subprocess

import pytest

from underlay.facts.script import reading_script, split_readings


def _run(readings: dict[str, str]) -> list[str]:
    done = subprocess.run(
        ["sh", "-c", reading_script(readings)], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def test_readings_are_kept_apart() -> None:
    output = _run(
        {"one": "echo a; echo b", "none": "cat /nonexistent", "two": "exit 3", "x y": "echo 'q'"}
    )
    assert split_readings(output) == {"one": ["a", "b"], "none": [], "two": [], "x y": ["q"]}


def test_a_reading_with_a_comment_does_not_swallow_the_next() -> None:
    assert split_readings(_run({"one": "echo a # why", "two": "echo b"})) == {
        "one": ["a"],
        "two": ["b"],
    }


def test_a_broken_off_reading_is_an_error() -> None:
    with pytest.raises(ValueError, match="broke off"):
        split_readings(_run({"one": "echo a"})[:-1])


def test_a_reading_without_a_final_line_feed() -> None:
    assert split_readings(_run({"one": "printf a", "two": "echo b"}))["two"] == ["b"]
