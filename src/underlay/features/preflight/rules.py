"""What must hold between the network sections of all hosts, and of waivers. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import date

from underlay.checks.select import Waiver, waived
from underlay.errors import UsageError
from underlay.features.preflight.checks import CHECKS
from underlay.features.preflight.settings import Preflight
from underlay.settings import Fleet, Problem, shown
from underlay.settings.network import Network

#: Keys that describe the cluster, not a host.
SHARED = (
    "pod_cidr", "service_cidr", "pod_cidr_v6", "service_cidr_v6", "cni", "encapsulation", "bgp",
    "typha", "remote_cidrs",
)  # fmt: skip


def one_plan(fleet: Fleet) -> Iterator[Problem]:
    """A cluster has one pod network: the shared keys are the same on every host."""
    hosts = list(fleet)
    for host in hosts[1:]:
        for key in SHARED:
            first = getattr(hosts[0].section(Network), key)
            own = getattr(host.section(Network), key)
            if own != first:
                yield Problem(
                    host.name, f"network.{key}", f"differs from {hosts[0].name}'s {shown(first)}",
                    shown(own), "set it once, in group_data/all.py",
                )  # fmt: skip


def waivers_of_checks(fleet: Fleet) -> Iterator[Problem]:
    """A waiver names a check that there is; a misspelt one would waive nothing in silence."""
    for host in fleet:
        for number, waiver in enumerate(host.section(Preflight).waivers):
            try:
                waived(CHECKS, [Waiver(waiver.id, waiver.reason)], date.min)
            except UsageError:
                ids = sorted(check.id for check in CHECKS)
                close = difflib.get_close_matches(waiver.id, ids, n=1)
                yield Problem(
                    host.name, f"preflight.waivers[{number}].id", "no such check", shown(waiver.id),
                    f"did you mean {close[0]!r}?" if close else "use an id of docs/checks.md",
                )  # fmt: skip


RULES = (one_plan, waivers_of_checks)
