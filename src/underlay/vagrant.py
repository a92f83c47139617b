"""Machines of Vagrant as a pyinfra inventory, from what `vagrant ssh-config` says.

The rule: an inventory that asks Vagrant is never silently empty or short; a machine of the
Vagrantfile that does not run is an error.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from paramiko import SSHConfig
from paramiko.ssh_exception import ConfigParseError

from underlay.errors import InventoryError

#: One host as pyinfra wants it: name and data.
Host = tuple[str, dict[str, object]]


def ask(folder: Path) -> str:
    """Output of `vagrant ssh-config` for the Vagrantfile in that folder.

    Raises InventoryError when Vagrant is not there, or a machine does not run.
    """
    try:
        done = subprocess.run(
            ["vagrant", "ssh-config"], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise InventoryError(
            f"vagrant ssh-config: cannot be run ({error.strerror}); install Vagrant"
        ) from error
    if done.returncode != 0:
        said = " ".join((done.stderr or "it printed nothing").split())
        raise InventoryError(
            f"vagrant ssh-config in {folder}: exit code {done.returncode} ({said[:300]}); run"
            " `vagrant up` there"
        )
    return done.stdout


def hosts(text: str) -> list[Host]:
    """Every machine of an ssh-config, in its order; they are reached as the user Vagrant made.

    Raises InventoryError when it names none.
    """
    config = SSHConfig()
    try:
        config = SSHConfig.from_text(text)
    except ConfigParseError as error:
        raise InventoryError(f"vagrant ssh-config: {error}; run it by hand to see why") from error
    names = [line.split()[1] for line in text.splitlines() if line.startswith("Host ")]
    if not names:
        raise InventoryError("vagrant ssh-config names no machine; run `vagrant up` first")
    return [(name, _data(name, config)) for name in names]


def load(folder: Path, read: Callable[[Path], str] = ask) -> list[Host]:
    """The running machines of the Vagrantfile in that folder."""
    return hosts(read(folder))


def _data(name: str, config: SSHConfig) -> dict[str, object]:
    found = config.lookup(name)
    checks = found.get("stricthostkeychecking", "yes")
    return {
        "ssh_hostname": found["hostname"],
        "ssh_port": int(found.get("port", "22")),
        "ssh_user": found.get("user", "vagrant"),
        "ssh_key": found["identityfile"][0].strip('"'),
        # Vagrant makes a machine anew under an old address, and says itself what to do about keys
        "ssh_known_hosts_file": found.get("userknownhostsfile", "~/.ssh/known_hosts").strip('"'),
        "ssh_strict_host_key_checking": "no" if checks == "no" else checks,
        # an emulated machine takes its time over a key exchange
        "ssh_connect_retries": 2,
        "ssh_paramiko_connect_kwargs": {"timeout": 60, "banner_timeout": 60, "auth_timeout": 60},
        "_sudo": found.get("user", "vagrant") != "root",
    }
