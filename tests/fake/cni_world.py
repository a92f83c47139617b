"""Nodes without a kernel for deploys of a CNI: what each one reads, and what was changed on it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from pyinfra.connectors.util import CommandOutput, OutputLine

from underlay.facts.script import MARK
from underlay.features.preflight.snapshot import END

READINGS = (
    "devices", "files", "plugins", "bridge-nf", "subnet", "pods", "ways", "neighbours", "offload",
    "rule", "tools",
)  # fmt: skip


#: A node on which flannel can be installed.
READY = {
    "plugins": ["bridge", "host-local", "portmap"],
    "bridge-nf": ["1", "1"],
    "files": ["10-flannel.conflist"],
}


@dataclass
class World:
    """readings: host -> reading -> lines, in place of `ready`; changed: host -> the script that its
    device got; scripts: all of them, in order; backed_up: hosts, in order.
    """

    readings: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    ready: dict[str, list[str]] = field(default_factory=lambda: dict(READY))
    changed: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, list[str]] = field(default_factory=dict)
    backed_up: list[str] = field(default_factory=list)

    def answer(self, host: str, command: str) -> tuple[bool, CommandOutput]:
        """What a host's shell gives."""
        text = shlex.split(command)[-1]
        if f"{MARK}bridge-nf" in text:
            found: dict[str, list[str]] = {
                **{name: [] for name in READINGS},
                **self.ready,
                **self.readings.get(host, {}),
            }
            lines = [line for name in READINGS for line in (f"{MARK}{name}", *found[name])]
            return True, _lines([*lines, f"{MARK}end"])
        if "iptables-save" in command:
            self.backed_up.append(host)
            return True, _lines([END])
        assert text.startswith("set -e"), text
        self.changed[host] = text
        self.scripts.setdefault(host, []).append(text)
        return True, _lines([])


def _lines(found: list[str]) -> CommandOutput:
    return CommandOutput([OutputLine("stdout", line) for line in found])
