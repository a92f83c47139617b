"""Shell text that writes files is run for real, in a folder of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from underlay.operations.files import remove_file, room, write_file

TEXT = 'it\'s "$(id)" `id` \\n %s\nsecond\n'


def _sh(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True)


def test_a_file_gets_its_text_mode_and_folder(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "it's"
    assert _sh(write_file(str(target), TEXT, "0600")).returncode == 0
    assert target.read_text() == TEXT
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["it's"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old\n")
    with target.open() as reader:
        assert _sh(write_file(str(target), TEXT)).returncode == 0
        assert reader.read() == "old\n"
    assert target.read_text() == TEXT


@pytest.mark.parametrize("tool", ["chmod", "sync", "mv"])
def test_a_step_that_fails_leaves_the_old_file(tmp_path: Path, tool: str) -> None:
    target = tmp_path / "a"
    target.write_text("old\n")
    assert _sh(f"{tool}() {{ return 1; }}; {write_file(str(target), TEXT)}").returncode == 1
    assert target.read_text() == "old\n"


def test_removing_is_quiet_about_a_missing_file(tmp_path: Path) -> None:
    target = tmp_path / "$(id)"
    target.touch()
    for _ in range(2):
        assert _sh(remove_file(str(target))).returncode == 0
        assert not target.exists()


@pytest.mark.parametrize("trouble", ["none", "full", "unwritable"])
def test_room_is_looked_for_before_something_is_started(tmp_path: Path, trouble: str) -> None:
    folder = tmp_path / "etc"
    if trouble != "unwritable":
        folder.mkdir()
    if trouble == "full":
        # every write to it ends with "No space left on device"
        (folder / ".underlay.new").symlink_to("/dev/full")
    done = _sh(f"set -e\n{room(str(folder))}\necho started")
    assert (done.returncode, done.stdout) == ((0, "started\n") if trouble == "none" else (1, ""))
    if trouble != "none":
        assert f"{folder}: cannot be written; make room on its file system" in done.stderr
    assert not folder.exists() or list(folder.iterdir()) == []
