"""What `vagrant ssh-config` says becomes hosts, or a clear error; never an empty inventory."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay.errors import InventoryError
from underlay.vagrant import ask, hosts, load

TWO = """\
Host hub
  HostName 192.168.121.10
  User vagrant
  Port 22
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  PasswordAuthentication no
  IdentityFile "/home/me/my machines/.vagrant/machines/hub/libvirt/private_key"
  IdentitiesOnly yes
  LogLevel FATAL

Host w1
  HostName 127.0.0.1
  User root
  Port 2222
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  IdentityFile /home/me/key

"""


def test_every_machine_is_a_host_in_its_order() -> None:
    (hub, data), (w1, other) = hosts(TWO)
    assert (hub, w1) == ("hub", "w1")
    assert (data["ssh_hostname"], data["ssh_port"]) == ("192.168.121.10", 22)
    assert (other["ssh_hostname"], other["ssh_port"]) == ("127.0.0.1", 2222)
    key = "/home/me/my machines/.vagrant/machines/hub/libvirt/private_key"
    assert (data["ssh_key"], other["ssh_key"]) == (key, "/home/me/key")


def test_only_a_user_who_is_not_root_needs_sudo() -> None:
    assert [(data["ssh_user"], data["_sudo"]) for _, data in hosts(TWO)] == [
        ("vagrant", True),
        ("root", False),
    ]


def test_host_keys_are_as_vagrant_says() -> None:
    _, data = hosts(TWO)[0]
    assert data["ssh_known_hosts_file"] == "/dev/null"
    assert data["ssh_strict_host_key_checking"] == "no"


@pytest.mark.parametrize("text", ["", "\n", "warning: nothing here\n"])
def test_no_machine_is_an_error(text: str) -> None:
    with pytest.raises(InventoryError, match=r"vagrant up|by hand"):
        hosts(text)


def test_vagrant_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InventoryError, match="install Vagrant"):
        ask(tmp_path)


def _program(folder: Path, text: str) -> None:
    path = folder / "vagrant"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_what_vagrant_says_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _program(tmp_path, "echo 'The machine is not ready for SSH' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InventoryError, match=r"not ready for SSH.*vagrant up"):
        load(tmp_path)


def test_machines_are_not_fewer_than_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "said").write_text(TWO)
    _program(tmp_path, f"cat {tmp_path}/said; echo 'w2 is not created' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InventoryError, match="w2 is not created"):
        load(tmp_path)
    _program(tmp_path, f"cat {tmp_path}/said")
    assert [name for name, _ in load(tmp_path)] == ["hub", "w1"]
