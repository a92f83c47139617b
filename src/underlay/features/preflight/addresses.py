"""Which address of a node its peers use, and for what: the node's own, and that beneath it. Pure.

The rule: where the CNI lies on an overlay, nodes know each other by its addresses, and only the
overlay itself uses those beneath.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from underlay.addressing.overlap import network as parsed
from underlay.facts.node import Node, interface
from underlay.features.preflight.plan import Target
from underlay.features.preflight.scene import Host


def known(host: Host, facts: Node) -> Host:
    """The host with every address that its facts tell."""
    found = replace(
        host, address=address_of(host, facts), beneath=beneath_of(host, facts) or host.over
    )
    return replace(found, second=second_of(found, facts))


def address_of(host: Host, facts: Node) -> str:
    """The node's own address: the overlay's where it is up, else the one beneath."""
    return host.over if host.over and facts.interface_of(host.over) else beneath_of(host, facts)


def beneath_of(host: Host, facts: Node) -> str:
    """Declared, in the node CIDR, the one of SSH, of the default route."""
    own = [text for text in _own(facts) if text != host.over]
    declared, cidr = host.network.address, host.network.node_cidr
    if declared and declared != host.over:
        return declared
    if cidr and not (host.over and ip_address(host.over) in parsed(cidr)):
        return next((text for text in own if ip_address(text) in parsed(cidr)), "")
    # SSH through a forwarded port ends on the loopback, which is nobody's way to this node
    if host.address in own and not ip_address(host.address).is_loopback:
        return host.address
    beside = facts.addresses.get(facts.default_device, ())
    return str(interface(beside[0]).ip) if beside else ""


def second_of(host: Host, facts: Node) -> str:
    """The node's IPv6 address besides its IPv4 one: declared, or the first on its interface."""
    if host.network.address_v6:
        return host.network.address_v6
    if not host.network.dual_stack or ":" in host.address:
        return ""
    beside = facts.addresses.get(facts.interface_of(host.address), ())
    found = (interface(text).ip for text in beside)
    return next((str(ip) for ip in found if ip.version == 6 and not ip.is_link_local), "")


def target_of(host: Host, facts: Node) -> Target | None:
    """How peers reach a node; None when it has no address of theirs."""
    mtu = _mtu(host, facts, host.address)
    if not mtu:
        return None
    return Target(
        host.name, host.address, mtu, host.second, host.beneath or host.address,
        _mtu(host, facts, host.beneath) or mtu, frozenset(_own(facts)), host.waits,
    )  # fmt: skip


def _own(facts: Node) -> list[str]:
    return [str(interface(text).ip) for found in facts.addresses.values() for text in found]


def _mtu(host: Host, facts: Node, address: str) -> int:
    """Of the interface that carries an address and of the declared path; 0 for no interface."""
    link = facts.link(facts.interface_of(address)) if address else None
    return 0 if link is None else min(link.mtu, host.network.mtu or link.mtu)
