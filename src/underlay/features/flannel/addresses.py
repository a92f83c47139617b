"""Addresses of nodes in annotations that flannel reads: which make sense, and are there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from underlay.addressing.overlap import network
from underlay.cluster import Object
from underlay.cluster.owners import annotators
from underlay.features import address_plan
from underlay.features.flannel.settings import Flannel
from underlay.settings import Problem, shown
from underlay.settings.fleet import HostSettings
from underlay.settings.network import Network

PREFIX = "flannel.alpha.coreos.com/"
OVERWRITE, SELECT = f"{PREFIX}public-ip{{}}-overwrite", f"{PREFIX}node-public-ip{{}}"


def of_node(host: HostSettings) -> dict[str, str]:
    """What the Node of a host is to have."""
    settings, section = host.section(Flannel), host.section(Network)
    own = [address_plan.address_of(host)]
    if section.pod_cidr_v6 and section.address_v6:
        own.append(section.address_v6)
    public = settings.public_ips.get(host.name)
    found = {
        SELECT.format(_suffix(one)): one for one in own if one and settings.by_node_address
    }  # fmt: skip
    return found | ({OVERWRITE.format(_suffix(public)): public} if public else {})


def _suffix(address: str) -> str:
    return "v6" if ":" in address else ""


def problems(hosts: list[HostSettings]) -> Iterator[Problem]:
    """Addresses of `flannel.public_ips` at which no other node can reach a host."""
    first = hosts[0]
    section, given = first.section(Network), first.section(Flannel).public_ips
    known = {host.name: host for host in hosts}
    owner = {
        address: host.name
        for host in hosts
        for address in (address_plan.address_of(host), host.section(Network).address_v6)
        if address
    }
    seen: dict[str, str] = {}
    for name, address in given.items():
        found = "no host of that name" if name not in known else _wrong(address, section)
        for whose in (owner.get(address, name), seen.get(address, name)):
            if not found and whose != name:
                found = f"is the address of {whose}"
        seen.setdefault(address, name)
        if found:
            yield Problem(
                first.name, f"flannel.public_ips.{name}", found, shown(address),
                "give the address at which the other nodes reach this host",
            )  # fmt: skip
    if given and section.encapsulation == "none":
        yield Problem(
            first.name, "flannel.public_ips", "host-gw takes it as a gateway on the link",
            shown(", ".join(given)), "take it out, or use vxlan or wireguard",
        )  # fmt: skip


def _wrong(text: str, section: Network) -> str:
    """Why nobody is reached there, "" when somebody may be."""
    address = ip_address(text)
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        return "is the address of no host"
    if address.is_link_local:
        return "is link-local, and means another host on every link"
    if address.version == 6 and not section.pod_cidr_v6:
        return "is IPv6, and flannel has no IPv6 without network.pod_cidr_v6"
    for key in ("pod_cidr", "pod_cidr_v6", "service_cidr", "service_cidr_v6"):
        inside = getattr(section, key)
        if inside and address in network(inside):
            return f"lies in {key} {inside}, where no node is"
    return ""


def not_there(wanted: Mapping[str, str], on_node: frozenset[str]) -> Iterator[str]:
    """Addresses by which flannel is to choose an interface and that no interface has."""
    for key, address in wanted.items():
        if key in (SELECT.format(""), SELECT.format("v6")) and address not in on_node:
            yield (
                f"no interface has {address}, by which flannel is to choose one"
                " (flannel.by_node_address); correct network.address"
            )


def surplus(node: Object, wanted: Mapping[str, str]) -> dict[str, set[str]]:
    """Annotations of a Node that flannel would follow and the inventory does not name.

    Each with the field managers that wrote it.
    """
    live = node["metadata"].get("annotations") or {}
    keys = (form.format(suffix) for form in (OVERWRITE, SELECT) for suffix in ("", "v6"))
    return {key: annotators(node, key) for key in keys if live.get(key) and key not in wanted}


def refusals(node: Object, found: Mapping[str, set[str]], ours: set[str]) -> Iterator[str]:
    """Those that are not ours to take from the Node. found: of `surplus`; ours: managers."""
    for key, who in found.items():
        if who and who <= ours:
            continue
        meta = node["metadata"]
        setting = "public_ips" if key.endswith("-overwrite") else "by_node_address"
        names = ", ".join(map(repr, sorted(who - ours))) or "nobody that is known"
        yield (
            f"node {meta['name']}: flannel follows the annotation"
            f" {key} = {meta['annotations'][key]!r}, which the inventory does not name and {names}"
            f" wrote; name it in flannel.{setting}, or take it from the Node"
        )
