"""What must hold before flannel is installed, found before any host is connected. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.features import address_plan, cni_rules, net_conf
from underlay.features.flannel import addresses
from underlay.features.flannel.settings import Flannel
from underlay.settings import Fleet, Problem, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network

#: Backends that flannel has and we do not install, each with its reason.
_NOT_OFFERED = {
    "udp": "flannel's udp copies every packet through a process; it is there to debug",
    "ipsec": "flannel's ipsec leaves stale policies at its start and has its key in a ConfigMap",
}


def installable(fleet: Fleet) -> Iterator[Problem]:
    """Every rule, where the inventory asks for flannel."""
    if any(host.names(Flannel) for host in fleet):
        yield from problems(fleet)


def problems(fleet: Fleet) -> Iterator[Problem]:
    """Everything against installing flannel on the hosts that have a network section."""
    yield from cni_rules.problems(fleet, Flannel)
    hosts = address_plan.members(fleet)
    if not hosts:
        return
    first = hosts[0]
    yield from _network(first)
    yield from _selection(first, hosts)
    yield from net_conf.ports(hosts)


RULES = (installable,)


def _network(host: HostSettings) -> Iterator[Problem]:
    section, flannel = host.section(Network), host.section(Flannel)
    yield from cni_rules.of_network(host, "flannel", Flannel, cni="flannel")
    if section.pod_cidr and ":" in section.pod_cidr:
        yield Problem(
            host.name, "network.pod_cidr", "flannel's IPv6 is the second family",
            shown(section.pod_cidr), "give IPv4 here and IPv6 in pod_cidr_v6",
        )  # fmt: skip
    if section.encapsulation not in net_conf.BACKENDS:
        yield Problem(
            host.name, "network.encapsulation",
            _NOT_OFFERED.get(section.encapsulation, "flannel has no such backend"),
            shown(section.encapsulation), f"use one of {', '.join(net_conf.BACKENDS)}",
        )  # fmt: skip
    if not section.encapsulation.startswith("vxlan"):
        for key in ("tx_queue_length", "offload"):
            value = getattr(flannel, key)
            if value:
                yield Problem(
                    host.name, f"flannel.{key}", "is for the VXLAN device", shown(value),
                    "take it out, or set network.encapsulation to vxlan",
                )  # fmt: skip


def _selection(first: HostSettings, hosts: list[HostSettings]) -> Iterator[Problem]:
    flannel, section = first.section(Flannel), first.section(Network)
    ways = [key for key in ("interface", "interface_regex", "can_reach") if getattr(flannel, key)]
    if len(ways) > 1:
        yield Problem(
            first.name, f"flannel.{ways[1]}", f"{ways[0]} is given too, and one of them would win",
            shown(getattr(flannel, ways[1])), "keep one",
        )  # fmt: skip
    if section.transport and ways and flannel.interface != section.transport:
        yield Problem(
            first.name, f"flannel.{ways[0]}", f"network.transport is {section.transport}",
            shown(getattr(flannel, ways[0])), "take it out: flannel gets the transport's interface",
        )  # fmt: skip
    yield from addresses.problems(hosts)
    for host in hosts:
        if flannel.by_node_address and not address_plan.address_of(host):
            yield Problem(
                host.name, "network.address", "flannel.by_node_address needs it", None, "give it"
            )
