"""A running lab as a pyinfra inventory.

The rule: an inventory that reads a lab is never silently empty; no lab is an error.
"""

from __future__ import annotations

from underlay.lab import state
from underlay.lab.state import Lab

#: One host as pyinfra wants it: name and data.
Host = tuple[str, dict[str, object]]


class LabInventory:
    """The hosts of one lab, by group."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def group(self, name: str) -> list[Host]:
        """The hosts of one group, in the order of the topology; empty for an unknown group."""
        found = [m.name for m in self.lab.topology.machines if name in m.groups]
        return [(host, self._data(host)) for host in found]

    def _data(self, host: str) -> dict[str, object]:
        return {
            "ssh_hostname": "127.0.0.1",
            "ssh_port": self.lab.ssh_ports[host],
            "ssh_user": "root",
            "ssh_key": str(self.lab.ssh_key),
            "ssh_known_hosts_file": str(self.lab.known_hosts),
            "ssh_strict_host_key_checking": "yes",
            # an emulated machine on a busy computer takes its time over a key exchange
            "ssh_connect_retries": 2,
            "ssh_paramiko_connect_kwargs": {
                "timeout": 60, "banner_timeout": 60, "auth_timeout": 60,
            },
        }  # fmt: skip


def load(name: str | None = None) -> LabInventory:
    """The inventory of a running lab: `name`, else UNDERLAY_LAB, else `lab`, else the only one."""
    return LabInventory(state.load(name) if name else state.chosen())
