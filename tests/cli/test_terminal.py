"""What a person sees at 80 and 120 columns, and what a program gets through a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress

import gevent
import pytest
from tests.cli.conftest import Project
from tests.cli.listener import Listener

from underlay.cli.progress import Progress

LONG = {"net.core.somaxconn": {"at_least": 32768}, "net.ipv4.tcp_rmem": "4096 131072 16777216"}


PLANNED = """
network = {"pod_cidr": "10.244.0.0/16", "cni": "calico", "bgp": True, "encapsulation": "none"}
wireguard = {"overlays": {"overlay-of-all": {
    "overlay_cidr": "10.8.0.0/24", "hubs": ["cp1"], "accept_single_hub": True, "nodes": {
        "cp1": {"address": "10.8.0.1", "endpoint": "a-rather-long-name.example.org:51820"},
        "w1": {"address": "10.8.0.2", "behind_nat": True},
        "w2": {"address": "10.8.0.3", "behind_nat": True}}}}}
"""


def _at(project: Project, columns: int, *words: str, **more: str) -> str:
    """The output of a command on a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {
        key: text for key, text in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "underlay", *words], cwd=project.folder, stdin=theirs,
        stdout=theirs, stderr=theirs, env={**environment, **more}, close_fds=True,
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


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "words", [("wireguard", "plan"), ("plan",), ("advise", "--no-cluster")], ids="-".join
)
def test_rows_are_wrapped_on_a_terminal_and_whole_in_a_pipe(
    project: Project, columns: int, words: tuple[str, ...]
) -> None:
    project.write("group_data/all.py", PLANNED)
    command = [words[0], *words[1:]]
    command.insert(1 if words[0] != "wireguard" else 2, "inventory.py")
    text = _at(project, columns, *command)
    assert not [line for line in text.splitlines() if len(line) > columns]
    piped = project.underlay(*command)
    assert piped.returncode == 0, piped.stderr
    if words == ("wireguard", "plan"):
        assert any(len(line) > 80 for line in piped.stdout.splitlines())


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colour_gets_none(project: Project, more: dict[str, str]) -> None:
    assert "\x1b" not in _at(project, 120, "settings", "inventory.py", **more)


def test_progress_is_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic() - 3
    Progress(began)("reading", 1, 3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    Progress(time.monotonic())("reading", 1, 3)
    assert capsys.readouterr().err == ""
    told = Progress(began)
    for step in ("asking the cluster", "reading"):
        told(step, 1, 3)
    told.end()
    over = " " * len("asking the cluster 1/3")
    assert capsys.readouterr().err == (
        f"\rasking the cluster 1/3\r{'reading 1/3':<{len(over)}}\r{' ' * len('reading 1/3')}\r"
    )


def test_a_step_that_lasts_is_shown_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(time.monotonic() - 1.9) as told:
        told("connecting", 0, 1)
        told("reading", 0, 1)
        assert capsys.readouterr().err == ""
        gevent.sleep(0.3)
        assert capsys.readouterr().err == "\rreading 0/1"
    assert capsys.readouterr().err == f"\r{' ' * len('reading 0/1')}\r"
    with Progress(time.monotonic() - 1.9) as told:
        told("connecting", 0, 1)
    gevent.sleep(0.3)
    assert capsys.readouterr().err == ""


#: Commands that connect to hosts and read them.
READERS = (
    ("preflight",), ("verify",), ("backup",), ("restore", "--dry", "--from", "taken"),
    ("journal",), ("sysctl-report",), ("advise",), ("route-reflectors", "plan", "--live"),
)  # fmt: skip


def _reader(words: tuple[str, ...]) -> list[str]:
    """Its command line for a host whose sshd says nothing for three seconds."""
    place = 2 if words[0] == "route-reflectors" else 1
    return [sys.executable, "-m", "underlay", *words[:place], "inventory.py", *words[place:]]


def test_every_command_that_connects_says_so_on_a_terminal_and_nothing_in_a_pipe(
    project: Project, listener: Listener
) -> None:
    listener.silent_s = 3.0
    login = {"ssh_hostname": "127.0.0.1", "ssh_port": listener.port}
    project.write("inventory.py", f"control_plane = [('cp1', {login!r})]\n")
    group = {"cluster_id": "244.0.0.1", "reflectors": ["cp1"]}
    reflectors = {"groups": {"all": group}, "allow_single": True}
    project.write("group_data/all.py", f"route_reflectors = {reflectors!r}\n")
    taken = {"taken": "2026-01-02T03:04:05+00:00", "hosts": ["cp1"], "files": {}}
    project.write("taken/manifest.json", json.dumps(taken))
    runs = []
    for words in READERS:
        ours, theirs = pty.openpty()
        common = {"cwd": project.folder, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        runs.append(
            (
                words, ours,
                subprocess.Popen(_reader(words), stderr=theirs, **common),  # type: ignore[call-overload]
                subprocess.Popen(_reader(words), stderr=subprocess.PIPE, **common),  # type: ignore[call-overload]
            )
        )  # fmt: skip
        os.close(theirs)
    for words, ours, shown, piped in runs:
        found = b""
        with suppress(OSError):
            while part := os.read(ours, 65536):
                found += part
        os.close(ours)
        shown.communicate(timeout=60)
        _, said = piped.communicate(timeout=60)
        assert b"connecting 0/1" in found, (words, found)
        assert b"connecting" not in said, words
        assert b"\r" not in said, words


def test_a_terminal_gets_weight_and_a_pipe_gets_text(project: Project) -> None:
    assert "\x1b[1m" in _at(project, 120, "settings", "inventory.py")
    piped = project.underlay("settings", "inventory.py")
    assert "\x1b" not in piped.stdout + piped.stderr
    wrong = project.underlay("settings", "missing.py")
    assert "\x1b" not in wrong.stdout + wrong.stderr
    report = project.underlay("preflight", "inventory.py", "--host", "nobody")
    assert "\x1b" not in report.stdout + report.stderr
