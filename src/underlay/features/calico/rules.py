"""What must hold before Calico is installed, found before any host is connected. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from underlay.addressing.overlap import IPNetwork, network, overlap
from underlay.features import address_plan, cni_rules, net_conf
from underlay.features.calico import canal, plan
from underlay.features.calico.settings import Calico
from underlay.features.calico.upstream import FILES, SUMS
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.wireguard.settings import WireGuard
from underlay.settings import Fleet, Problem, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network

#: Ports of Felix's WireGuard by default, for IPv4 and IPv6.
_WIREGUARD = (51820, 51821)
_VXLAN = 4789


def installable(fleet: Fleet) -> Iterator[Problem]:
    """Every rule, where the inventory asks for Calico."""
    if any(host.names(Calico) for host in fleet):
        yield from problems(fleet)


def problems(fleet: Fleet) -> Iterator[Problem]:
    """Everything against installing Calico on the hosts that have a network section."""
    yield from cni_rules.problems(fleet, Calico)
    hosts = address_plan.members(fleet)
    if not hosts:
        return
    first = hosts[0]
    if first.section(Calico).install == "canal":
        yield from cni_rules.of_network(first, "canal", Calico, cni="flannel")
        yield from canal.problems(first)
        yield from _sums(first, len(hosts))
        yield from net_conf.ports(hosts)
        return
    yield from cni_rules.of_network(first, "Calico", Calico, cni="calico")
    yield from _pools(first)
    yield from _sums(first, len(hosts))
    yield from _rules_of_one_kind(first)
    yield from _ports(hosts)


RULES = (installable,)


def files(settings: Calico, section: Network, nodes: int) -> tuple[str, ...]:
    """The files of upstream that an install needs."""
    return FILES["manifest-typha" if typha(settings, section, nodes) else settings.install]


def typha(settings: Calico, section: Network, nodes: int) -> bool:
    """Whether a plain manifest brings Typha; the operator decides by itself."""
    many = section.typha or nodes >= settings.typha_from
    return settings.install == "manifest" and many


def sums(settings: Calico) -> dict[str, str]:
    """File -> sha256: what underlay knows, and what the inventory says."""
    return {**SUMS.get(settings.version, {}), **settings.sums}


def _pools(host: HostSettings) -> Iterator[Problem]:
    section, settings = host.section(Network), host.section(Calico)
    found = plan.pools(settings, section)
    pods = [network(cidr) for cidr in (section.pod_cidr, section.pod_cidr_v6) if cidr]
    for pool in found:
        path = f"calico.pools.{pool.name}"
        cidr = network(pool.cidr)
        if not any(_inside(cidr, outer) for outer in pods):
            yield Problem(
                host.name, f"{path}.cidr", f"outside of {' and '.join(map(str, pods))}",
                shown(pool.cidr), "kube-proxy would masquerade it; choose a part of pod_cidr",
            )  # fmt: skip
        low, high = (116, 128) if pool.v6 else (20, 32)
        if not low <= pool.block_size <= high or pool.block_size < cidr.prefixlen:
            yield Problem(
                host.name, f"{path}.block_size", f"no block of {cidr} has this size",
                shown(pool.block_size), f"use {max(low, cidr.prefixlen)} to {high}",
            )  # fmt: skip
        if pool.v6 and pool.encapsulation.startswith("ipip"):
            yield Problem(
                host.name, f"{path}.encapsulation", "IPIP carries IPv4 only",
                shown(pool.encapsulation), "use vxlan or none",
            )  # fmt: skip
        yield from _dearer(host.name, path, pool, section)
    for one, other in combinations(found, 2):
        if overlap(network(one.cidr), network(other.cidr)):
            yield Problem(
                host.name, f"calico.pools.{other.name}.cidr", f"overlaps {one.name} ({one.cidr})",
                shown(other.cidr), "an address belongs to one pool",
            )  # fmt: skip


def _dearer(host: str, path: str, pool: plan.WantedPool, section: Network) -> Iterator[Problem]:
    """The MTU is planned for network.encapsulation; a pool may not take more of a packet."""
    cost = {"none": 0, "ipip": 20, "vxlan": 50}
    mine = cost[pool.encapsulation.removesuffix("-cross-subnet")]
    if mine > cost.get(plan.pool_encapsulation(section).removesuffix("-cross-subnet"), 0):
        yield Problem(
            host, f"{path}.encapsulation", f"takes more of a packet than {section.encapsulation}",
            shown(pool.encapsulation), "set network.encapsulation to it; the MTU follows from that",
        )  # fmt: skip


def _inside(one: IPNetwork, outer: IPNetwork) -> bool:
    return overlap(one, outer) and one.prefixlen >= outer.prefixlen


def _sums(host: HostSettings, nodes: int) -> Iterator[Problem]:
    settings = host.section(Calico)
    known = sums(settings)
    for name in files(settings, host.section(Network), nodes):
        if name not in known:
            yield Problem(
                host.name, f"calico.sums.{name}", f"no sha256 for {settings.version}", None,
                "give the sum of the file that you have checked, or use one of"
                f" {', '.join(SUMS)}",
            )  # fmt: skip


def _rules_of_one_kind(host: HostSettings) -> Iterator[Problem]:
    """Felix in nft and kube-proxy in iptables, or the reverse, do not see each other's marks."""
    settings = host.section(Calico)
    if not host.names(KubeProxy) or settings.dataplane is None:
        return
    mode = host.section(KubeProxy).mode
    if plan.follows_proxy(settings) and settings.dataplane == "nftables":
        return
    if (mode == "nftables") != (settings.dataplane == "nftables"):
        yield Problem(
            host.name, "calico.dataplane", f"kube_proxy.mode is {mode}", shown(settings.dataplane),
            "use nftables for both or for none; leave it out to follow kube-proxy",
        )  # fmt: skip


def _ports(hosts: list[HostSettings]) -> Iterator[Problem]:
    for host in hosts:
        section, felix = host.section(Network), host.section(Calico).felix
        ours: dict[str, object] = {}
        if section.encapsulation == "wireguard":
            ours["wireguardListeningPort"] = felix.get("wireguardListeningPort", _WIREGUARD[0])
            if section.pod_cidr_v6:
                ours["wireguardListeningPortV6"] = _WIREGUARD[1]
        if "vxlan" in plan.pool_encapsulation(section):
            ours["vxlanPort"] = felix.get("vxlanPort", _VXLAN)
        for name, overlay in host.section(WireGuard).of(host.name).items():
            for key, port in ours.items():
                if port == overlay.port:
                    yield Problem(
                        host.name, f"calico.felix.{key}", f"the overlay {name} listens there",
                        shown(port), "give one of them another port",
                    )  # fmt: skip
