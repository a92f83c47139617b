"""What must hold before any CNI is installed, found before any host is connected. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.features import address_plan
from underlay.settings import Fleet, Problem, Section, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network


def problems(fleet: Fleet, kind: type[Section]) -> Iterator[Problem]:
    """Of the plan, and of a section that is to be the same for every node."""
    hosts = address_plan.members(fleet)
    if not hosts:
        yield Problem("", "network", "no host has this section", None, "see docs/plan.md")
        return
    yield from address_plan.problems(fleet)
    first = hosts[0]
    for host in hosts[1:]:
        if host.section(kind) != first.section(kind):
            yield Problem(
                host.name, kind.KEY, f"differs from what {first.name} has", None,
                "write it once, in group_data/all.py",
            )  # fmt: skip


def of_network(
    host: HostSettings, title: str, kind: type[Section], *, cni: str
) -> Iterator[Problem]:
    """The section network is about the CNI that is to be installed.

    title: its name; cni: what `network` calls the one that carries the packets.
    """
    section = host.section(Network)
    if section.cni != cni:
        yield Problem(
            host.name, "network.cni", f"{title} is to be installed", shown(section.cni),
            f"set it to '{cni}', or take the section {kind.KEY} out",
        )  # fmt: skip
    if section.pod_cidr is None:
        yield Problem(
            host.name, "network.pod_cidr", f"{title} needs it", None,
            "give the --cluster-cidr of the controller-manager",
        )  # fmt: skip
