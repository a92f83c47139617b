"""The helper of an overlay is run for real, with stand-ins for what needs a kernel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from underlay.render import source


def test_boringtun_keeps_its_rights_where_there_is_no_login(tmp_path: Path) -> None:
    """Without the module, and as a unit runs it: boringtun ends itself unless it is told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "ip": f'[ "$2" = show ] && [ -e {tmp_path}/made ]',
        "flock": ":",
        "boringtun-cli": f'echo "$WG_SUDO $1" > {tmp_path}/made',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    # a wireguard-go of this computer must not come first
    for name in ("cat", "mkdir", "sleep"):
        (programs / name).symlink_to(str(shutil.which(name)))
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "wg0.env").write_text("PRESHARED=0\n")
    lines = source("wireguard/underlay-wireguard.sh").splitlines()
    script = "\n".join(line for line in lines if not line.startswith("PATH="))
    script = script.replace("/etc/underlay/wireguard", str(folder))
    script = script.replace("/run/underlay-wireguard", str(tmp_path / "run"))
    done = subprocess.run(
        ["/bin/sh", "-c", script, "helper", "up", "wg0"],
        env={"PATH": str(programs)}, capture_output=True, text=True,
    )  # fmt: skip
    # what follows the interface is another test's
    assert "no key in" in done.stderr, done.stderr
    assert (tmp_path / "made").read_text() == "true wg0\n"
