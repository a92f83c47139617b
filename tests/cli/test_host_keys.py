"""A host that shows another key than the known one gets nothing, not even an attempt to log in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.common import AUTH_FAILED
from tests.cli.conftest import Project


class Server(paramiko.ServerInterface):
    """Lets nobody in and counts who tried."""

    attempts = 0

    def get_allowed_auths(self, username: str) -> str:
        """A key or a password."""
        return "publickey,password"

    def check_auth_none(self, username: str) -> int:
        """Counted."""
        Server.attempts += 1
        return AUTH_FAILED

    def check_auth_publickey(self, username: str, key: Any) -> int:
        """Counted."""
        Server.attempts += 1
        return AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        """Counted."""
        Server.attempts += 1
        return AUTH_FAILED


@pytest.fixture
def port() -> Iterator[int]:
    """Of an SSH server on 127.0.0.1 with a key of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    key = paramiko.RSAKey.generate(2048)
    Server.attempts = 0

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            with suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(server=Server())

    threading.Thread(target=serve, daemon=True).start()
    yield int(listening.getsockname()[1])
    listening.close()


def _known(path: Path, port: int) -> None:
    other = paramiko.RSAKey.generate(2048)
    path.write_text(f"[127.0.0.1]:{port} ssh-rsa {other.get_base64()}\n")


@pytest.mark.parametrize(
    ("known", "attempts"), [("another", 0), ("none", 0)], ids=["another key", "no key"]
)
def test_the_starter_trusts_only_keys_it_knows(
    project: Project, port: int, known: str, attempts: int
) -> None:
    hosts = project.folder / "known_hosts"
    if known == "another":
        _known(hosts, port)
    else:
        hosts.write_text("")
    project.write(
        "inventory.py",
        f'workers = [("w1", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port},'
        f' "ssh_known_hosts_file": "{hosts}", "ssh_password": "s3cret",'
        ' "ssh_look_for_keys": False, "ssh_allow_agent": False})]\n',
    )
    done = project.underlay("sysctl-report", "inventory.py")
    assert done.returncode == 5, done.stdout + done.stderr
    assert Server.attempts == attempts
    assert "s3cret" not in done.stdout + done.stderr


def test_without_the_starter_a_changed_key_is_refused_all_the_same(
    project: Project, port: int
) -> None:
    hosts = project.folder / "known_hosts"
    _known(hosts, port)
    (project.folder / "group_data/all.py").unlink()
    project.write(
        "inventory.py",
        f'workers = [("w1", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port},'
        f' "ssh_known_hosts_file": "{hosts}", "ssh_password": "s3cret"}})]\n',
    )
    assert project.underlay("sysctl-report", "inventory.py").returncode == 5
    assert Server.attempts == 0


def test_the_server_of_this_test_does_count(project: Project, port: int) -> None:
    (project.folder / "group_data/all.py").unlink()
    hosts = project.folder / "known_hosts"
    project.write(
        "inventory.py",
        f'workers = [("w1", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port},'
        f' "ssh_known_hosts_file": "{hosts}", "ssh_password": "s3cret"}})]\n',
    )
    assert project.underlay("sysctl-report", "inventory.py").returncode == 5
    assert Server.attempts > 0
