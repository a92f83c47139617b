"""One run over all hosts: what has happened so far, and the lease that it holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyinfra.api.state import State

from underlay.cluster.leased import LeasedRun


@dataclass
class Run(LeasedRun):
    """Shared by the operations of all hosts.

    hosts: those with something to do; writers: ConfigMap to the host whose operations write it;
    answers: host to what its Services answered last; finished: hosts that have reached the end.
    """

    hosts: set[str] = field(default_factory=set)
    writers: dict[str, str] = field(default_factory=dict)
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)

    def writes(self, config_map: str, host: str) -> bool:
        """Whether this host is the one that writes a ConfigMap; the first that asks is."""
        return self.writers.setdefault(config_map, host) == host


def is_lost(state: State, name: str) -> bool:
    """Whether a host has dropped out of the run."""
    found = state.inventory.get_host(name)
    return found not in state.active_hosts or found in state.failed_hosts
