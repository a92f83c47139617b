"""What a person sees at 80 and 120 columns, and what a program gets through a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from tests.cli.conftest import Project

LONG = {"net.core.somaxconn": {"at_least": 32768}, "net.ipv4.tcp_rmem": "4096 131072 16777216"}


def _at(project: Project, columns: int, *words: str) -> str:
    """The output of a command on a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {
        key: text for key, text in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "underlay", *words], cwd=project.folder, stdin=theirs,
        stdout=theirs, stderr=theirs, env=environment, close_fds=True,
    )  # fmt: skip
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        found += part
    os.close(ours)
    assert process.wait(timeout=60) == 0, found.decode()
    return found.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "words", [("settings", "inventory.py"), ("--help",), ("preflight", "--help"), ("lab", "--help")]
)
def test_no_line_is_wider_than_the_terminal(
    project: Project, columns: int, words: tuple[str, ...]
) -> None:
    project.write("group_data/workers.py", f'sysctl = {{"values": {LONG!r}}}\n')
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", _at(project, columns, *words))
    wide = [line for line in text.splitlines() if len(line) > columns]
    assert not wide
    assert len(text.splitlines()) > 5


def test_a_terminal_gets_weight_and_a_pipe_gets_text(project: Project) -> None:
    assert "\x1b[1m" in _at(project, 120, "settings", "inventory.py")
    piped = project.underlay("settings", "inventory.py")
    assert "\x1b" not in piped.stdout + piped.stderr
    wrong = project.underlay("settings", "missing.py")
    assert "\x1b" not in wrong.stdout + wrong.stderr
    report = project.underlay("preflight", "inventory.py", "--host", "nobody")
    assert "\x1b" not in report.stdout + report.stderr
