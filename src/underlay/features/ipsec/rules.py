"""What must hold across the ends of a link, found before any host is connected. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from ipaddress import IPv4Network
from itertools import combinations

from underlay.addressing.mtu import IPV4_MINIMUM
from underlay.features.ipsec import plan
from underlay.features.ipsec.neighbours import between
from underlay.features.ipsec.proposals import problems as proposal_problems
from underlay.features.ipsec.settings import IPsec, Link
from underlay.settings import Fleet, Problem, shown
from underlay.settings.network import Network

#: A rule about one link: problems as (path below the link, what, got, do).
_Found = Iterator[tuple[str, str, object, str]]


def each_link(fleet: Fleet) -> Iterator[Problem]:
    """Every rule on every link; a section that all hosts share is told once."""
    for host in fleet:
        section = host.section(IPsec)
        for name, link in section.present.items():
            for below, what, got, do in _problems(name, link, fleet.hosts):
                yield Problem(
                    host.name, f"{IPsec.KEY}.links.{name}.{below}", what,
                    shown(got) if got is not None else None, do,
                )  # fmt: skip
        yield from between(host.name, section)
        yield from _services(host.name, section, host.section(Network))


def one_definition(fleet: Fleet) -> Iterator[Problem]:
    """Every host must be told the same of a link, or one side would not know the other."""
    first: dict[str, tuple[str, Link]] = {}
    for host in fleet:
        for name, link in host.section(IPsec).links.items():
            where, known = first.setdefault(name, (host.name, link))
            if known != link:
                yield Problem(
                    host.name, f"{IPsec.KEY}.links.{name}", f"differs from what {where} has", None,
                    "write it once, in group_data/all.py",
                )  # fmt: skip
    for host in fleet:
        section = host.section(IPsec)
        for name, (where, link) in first.items():
            concerned = link.state == "present" and plan.side_of(link, host.name) is not None
            if concerned and name not in section.links:
                yield Problem(
                    host.name, f"{IPsec.KEY}.links", f"lacks {name}, which {where} has", None,
                    "write it once, in group_data/all.py",
                )  # fmt: skip


RULES = (each_link, one_definition)


def _problems(name: str, link: Link, known: Container[str]) -> _Found:
    if len(link.ends) != 2:
        yield "ends", "a link has two ends", tuple(link.ends), "name two"
        return
    named = list(_names(link, known))
    yield from named
    yield from _algorithms(link)
    yield from _authentication(link)
    children = list(_children(link))
    yield from children
    if not named and not children:
        rules: tuple[Callable[[Link], _Found], ...] = (_pairs, _networks, _ways, _inside)
        for rule in rules:
            yield from rule(link)
        if not any(key == "esp_proposals" for key, *_ in _algorithms(link)):
            yield from _sizes(link)


def _names(link: Link, known: Container[str]) -> _Found:
    if not link.managed:
        yield "ends", "neither end is a host of ours", None, "give one a gateway"
    gateways = [end.gateway for end in link.ends.values() if end.gateway is not None]
    if len(set(gateways)) != len(gateways):
        yield "ends", "one host at both ends", gateways[0], "name two gateways"
    for side, end in link.ends.items():
        hosts = [("gateway", end.gateway)] if end.gateway is not None else []
        for key, host in [*hosts, *(("nodes", node) for node in end.nodes)]:
            if host not in known:
                do = "correct the name, or leave gateway out for a peer managed elsewhere"
                yield f"ends.{side}.{key}", "no host of that name in the inventory", host, do
        if end.gateway is not None and end.gateway in end.nodes:
            yield f"ends.{side}.nodes", "its own gateway", end.gateway, "leave it out"
        if end.gateway is None and end.nodes:
            do = "name the gateway they go through"
            yield f"ends.{side}.nodes", "nodes of an end without a gateway", end.nodes, do
    a, b = link.ends.values()
    for node in (name for name in dict.fromkeys(a.nodes) if name in b.nodes):
        yield "ends", f"{node} is on both sides", None, "leave it out of one"


def _algorithms(link: Link) -> _Found:
    for key, found, esp in (
        ("proposals", link.proposals, False), ("esp_proposals", link.esp_proposals, True),
    ):  # fmt: skip
        if not found:
            yield key, "is empty", (), "leave it out for safe defaults, or name one"
        for proposal in found:
            for what, do in proposal_problems(proposal, esp=esp, allow_weak=link.allow_weak):
                yield key, what, proposal, do


def _authentication(link: Link) -> _Found:
    certified = [side for side, end in link.ends.items() if end.certificate is not None]
    if link.psk is None and not certified and link.ca is None:
        yield "psk", "neither psk nor certificates", None, "name a file, env or command for psk"
    if link.psk is not None and (certified or link.ca is not None):
        yield "psk", "beside certificates", None, "use one of the two"
    if link.psk is None and (certified or link.ca is not None):
        if link.ca is None:
            yield "ca", "nothing to judge the other end's certificate by", None, "name a CA file"
        for side in link.managed:
            found = link.ends[side].certificate
            if found is None or found.key is None:
                do = "give certificate: {file, key}"
                yield f"ends.{side}.certificate", "a gateway without certificate and key", None, do


def _children(link: Link) -> _Found:
    for child, sides in link.children.items():
        path = f"children.{child}"
        if set(sides) != set(link.ends):
            do = f"give networks for {' and '.join(link.ends)}"
            yield path, "must name the two ends", tuple(sides), do
            continue
        for side, networks in sides.items():
            if not networks:
                yield f"{path}.{side}", "no network", (), "name at least one"
            declared = link.ends[side].networks
            for cidr in networks:
                if declared and not any(cidr.subnet_of(whole) for whole in declared):
                    do = f"add it to ends.{side}.networks"
                    yield f"{path}.{side}", "not behind that end", str(cidr), do
    if not link.children:
        for side, end in link.ends.items():
            if not end.networks:
                yield f"ends.{side}.networks", "no network", (), "name what lies behind this end"


def _pairs(link: Link) -> _Found:
    """The kernel has one policy for a pair, so that one child would take what is the other's."""
    for (one, a), (other, b) in combinations(link.children.items(), 2):
        if all(set(a.get(side, ())) & set(b.get(side, ())) for side in link.ends):
            do = f"leave it out, or name networks that {one} does not have"
            yield f"children.{other}", f"carries a pair of networks that {one} carries", None, do


def _networks(link: Link) -> _Found:
    """One address must not lie on both sides, and an outer address not behind the link."""
    (one, other) = link.ends
    for a in plan.networks(link, one):
        for b in plan.networks(link, other):
            if a.overlaps(b) and not _spared(a, b, link):
                yield (
                    f"ends.{other}.networks", f"overlaps {a} of {one}", str(b),
                    "narrow it, or name what it must not take in bypass",
                )  # fmt: skip
    for side, far in ((one, other), (other, one)):
        for outer in (side, far):
            address = link.ends[outer].numeric
            covers = [
                cidr
                for cidr in plan.networks(link, side)
                if address is not None and address in cidr
            ]
            spared = address is not None and any(address in cidr for cidr in link.bypass)
            if covers and not spared:
                yield (
                    f"ends.{side}.networks",
                    f"takes in {outer}'s own outer address {address}, so that the link's packets"
                    " would go into the link", str(covers[0]),
                    f"narrow it, or add {address}/32 to bypass",
                )  # fmt: skip


def _spared(a: IPv4Network, b: IPv4Network, link: Link) -> bool:
    """Whether what two networks share is left out of the link."""
    shared = a if a.subnet_of(b) else b
    return any(shared.subnet_of(cidr) for cidr in link.bypass)


def _ways(link: Link) -> _Found:
    if all(end.behind_nat for end in link.ends.values()):
        yield "ends", "both behind NAT: nobody can call", None, "forward UDP 500 and 4500 to one"
    for side, end in link.ends.items():
        if end.gateway is not None and end.numeric is None:
            do = "write the address that the other side sees"
            yield f"ends.{side}.address", "the address of a gateway must be numeric", None, do


def _inside(link: Link) -> _Found:
    for side, end in link.ends.items():
        if end.nodes and end.inside is None:
            do = "give the gateway's address that the nodes of this side can reach"
            yield f"ends.{side}.inside", "nodes have no address to route to", None, do


def _sizes(link: Link) -> _Found:
    room = plan.largest(link)
    if link.mtu is not None and link.mtu > room:
        yield "mtu", f"the cipher leaves {room} of the underlay", link.mtu, f"use at most {room}"
    if room < IPV4_MINIMUM:
        yield "ends", f"the underlay leaves {room}, below {IPV4_MINIMUM}", None, "raise it"


def _services(host: str, section: IPsec, network: Network) -> Iterator[Problem]:
    """A far network that overlaps pods, Services or nodes here would take their traffic."""
    ours = {
        "pod_cidr": network.pod_cidr, "service_cidr": network.service_cidr,
        "node_cidr": network.node_cidr,
    }  # fmt: skip
    for name, link in section.present.items():
        side = plan.side_of(link, host) if len(link.ends) == 2 else None
        if side is None:
            continue
        for cidr in plan.networks(link, plan.far(link, side)):
            for key, text in ours.items():
                own = IPv4Network(text) if text and ":" not in text else None
                if own is not None and own.overlaps(cidr) and not _spared(own, cidr, link):
                    yield Problem(
                        host, f"{IPsec.KEY}.links.{name}", f"{cidr} overlaps network.{key} {own}",
                        None, "sites need addresses of their own; narrow it or name it in bypass",
                    )  # fmt: skip
