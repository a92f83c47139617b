"""The machines of a lab as other tools read them."""

from __future__ import annotations

import io

from paramiko import SSHConfig

from underlay.lab import ssh
from underlay.lab.state import Lab


def test_another_reader_finds_every_machine_and_checks_its_key() -> None:
    ports = {"cp1": 4001, "w1": 4002}
    lab = Lab("x", "flat", 2, "bookworm", "", 640, "tcg", ports)
    found = SSHConfig()
    found.parse(io.StringIO(ssh.config(lab)))
    assert found.get_hostnames() - {"*"} == {"cp1", "w1"}
    for name, port in ports.items():
        entry = found.lookup(name)
        assert (entry["hostname"], entry["port"], entry["user"]) == ("127.0.0.1", str(port), "root")
        assert list(entry["identityfile"]) == [str(lab.ssh_key)]
        assert (entry["stricthostkeychecking"], entry["userknownhostsfile"]) == (
            "yes", str(lab.known_hosts),
        )  # fmt: skip
