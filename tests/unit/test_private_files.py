"""What is written on this computer and on hosts is private from its first byte."""

from __future__ import annotations

import os
import stat
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from underlay import journal
from underlay.features.preflight.backup import read_parts, write_backup
from underlay.operations.files import append_entry
from underlay.operations.wireguard_script import make_keys

NOW = datetime(2027, 1, 1, tzinfo=timezone.utc)


def test_a_backup_is_private_before_it_has_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_folders = []
    write = Path.write_bytes

    def watched(self: Path, data: bytes) -> int:
        folders = [self.parent, *self.parents]
        private = any(stat.S_IMODE(f.stat().st_mode) == 0o700 and f != tmp_path for f in folders[:9]
                      if tmp_path in f.parents)  # fmt: skip
        open_folders.extend([] if private else [self])
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", watched)
    tmp_path.chmod(0o755)
    old = os.umask(0o022)
    try:
        write_backup(str(tmp_path / "backup"), NOW, {"n1": {"files/etc/x": b"secret"}})
    finally:
        os.umask(old)
    assert open_folders == []
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700


@pytest.mark.parametrize("host", ["..", ".", "a/../../b"])
def test_the_name_of_a_host_does_not_lead_out_of_a_backup(host: str, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    write_backup(str(folder), NOW, {host: {"files/etc/x": b"1"}})
    assert read_parts(str(folder), host) == {"files/etc/x": b"1"}
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
    assert sorted(path.name for path in folder.iterdir()) == ["hosts", "manifest.json"]


def test_keys_and_journals_are_private_under_any_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wg").write_text("#!/bin/sh\necho key\n")
    (tmp_path / "wg").chmod(0o700)
    entry = append_entry("c", journal.Entry("2027-01-01T00:00:00Z", "r", "done", {}))
    text = f"umask 0\n{make_keys(['wg0'])}\numask 0\n{entry}"
    for folder in ("/etc/underlay", journal.ROOT):
        text = text.replace(folder, f"{tmp_path}{folder}")
    (tmp_path / "etc").mkdir()
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", text], env=environment, check=True)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "etc/underlay").rglob("*")
    }
    assert modes == {"etc/underlay/wireguard": 0o700, "etc/underlay/wireguard/wg0.key": 0o600}
    place = tmp_path / journal.directory("c").lstrip("/")
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
