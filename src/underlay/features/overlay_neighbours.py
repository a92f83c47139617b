"""What else the inventory has on the members of an overlay: networks and ports that are taken.

The rule: an address means one thing on a host. What may lie behind a member, pods and the networks
of other sites, is only held against the overlay's own addresses. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

from underlay.features.calico.settings import Calico
from underlay.features.flannel.settings import Flannel
from underlay.features.ipsec.settings import IPsec, Link
from underlay.features.wireguard.settings import Overlay, WireGuard
from underlay.settings import Fleet, HostSettings, Problem, Section, shown
from underlay.settings.network import Network

#: A network that is taken: its path in the inventory, itself, whether a member may lead there.
_Taken = tuple[str, IPv4Network, bool]
#: (CNI, encapsulation) -> its UDP port where nobody says otherwise, and the section that would.
_PORTS: dict[tuple[str, str], tuple[int, type[Section]]] = {
    ("calico", "wireguard"): (51820, Calico),
    ("calico", "vxlan"): (4789, Calico),
    ("flannel", "wireguard"): (51820, Flannel),
    ("flannel", "vxlan"): (8472, Flannel),
}
_IKE = (500, 4500)


def networks_elsewhere(fleet: Fleet) -> Iterator[Problem]:
    """Networks of an overlay that other sections of a member, or a host's SSH, have already."""
    for host in fleet:
        for name, overlay in host.section(WireGuard).of(host.name).items():
            own = overlay.members[host.name].address
            taken = [*_of_network(host, name, own), *_of_links(host), *_of_pools(host)]
            for path, network, leads in taken:
                for cidr in [overlay.overlay_cidr] if leads else _all(overlay):
                    if cidr.overlaps(network):
                        yield Problem(
                            host.name, f"{WireGuard.KEY}.overlays.{name}",
                            f"{cidr} overlaps {path} ({network})", None, "choose another",
                        )  # fmt: skip
    yield from _ways_in(fleet)


def ports_elsewhere(fleet: Fleet) -> Iterator[Problem]:
    """UDP ports that IPsec or a CNI takes on a member; a CNI with a section of its own tells it."""
    for host in fleet:
        ports: dict[int, str] = dict.fromkeys(_IKE, "IPsec") if _far(host) else {}
        section = host.section(Network)
        port, owner = _PORTS.get(
            (section.cni, section.encapsulation.removesuffix("-cross-subnet")), (0, Network)
        )
        if not host.names(owner):
            ports[port] = f"{section.cni} ({section.encapsulation})"
        for name, overlay in host.section(WireGuard).of(host.name).items():
            if overlay.port in ports:
                yield Problem(
                    host.name, f"{WireGuard.KEY}.overlays.{name}.port",
                    f"{ports[overlay.port]} listens there too", shown(overlay.port),
                    "give the overlay a port of its own",
                )  # fmt: skip


RULES = (networks_elsewhere, ports_elsewhere)


def _of_network(host: HostSettings, overlay: str, own: IPv4Address) -> Iterator[_Taken]:
    section = host.section(Network)
    within = overlay == section.transport or section.address == str(own)
    found = {
        "pod_cidr": (section.pod_cidr, True),
        "service_cidr": (section.service_cidr, False),
        "node_local_dns": (section.node_local_dns, False),
        # on an overlay the nodes' addresses are the overlay's
        "node_cidr": (None if within else section.node_cidr, False),
        "address": (None if within else section.address, True),
        **{f"remote_cidrs.{name}": (text, True) for name, text in section.remote_cidrs.items()},
    }
    for key, (text, leads) in found.items():
        yield from _named(f"network.{key}", text, leads)


def _of_pools(host: HostSettings) -> Iterator[_Taken]:
    for name, pool in host.section(Calico).pools.items():
        yield from _named(f"calico.pools.{name}", pool.cidr, True)


def _of_links(host: HostSettings) -> Iterator[_Taken]:
    """What lies at the other end of links that this host has a part in, and is not bypassed."""
    for name, link, far in _far(host):
        sides = [sides.get(far, ()) for sides in link.children.values()]
        for cidr in dict.fromkeys(c for side in (sides or [link.ends[far].networks]) for c in side):
            if not any(cidr.subnet_of(spared) for spared in link.bypass):
                yield f"ipsec.links.{name}.ends.{far}", cidr, False


def _far(host: HostSettings) -> list[tuple[str, Link, str]]:
    """Links that a host has a part in, each with its other end."""
    return [
        (name, link, far)
        for name, link in host.section(IPsec).links.items()
        if link.state == "present" and len(link.ends) == 2
        for near, far in (tuple(link.ends), tuple(reversed(link.ends)))
        if host.name == link.ends[near].gateway or host.name in link.ends[near].nodes
    ]


def _ways_in(fleet: Fleet) -> Iterator[Problem]:
    """A host whose SSH address an overlay has could not be reached by the overlay's members."""
    overlays = {
        name: overlay
        for host in fleet
        for name, overlay in host.section(WireGuard).overlays.items()
        if overlay.members
    }
    for host in fleet:
        for name, overlay in overlays.items():
            member = overlay.members.get(host.name)
            for _, network, _ in _named("", host.ssh_hostname, True):
                address = network.network_address
                if address in overlay.overlay_cidr and (not member or member.address != address):
                    yield Problem(
                        host.name, f"{WireGuard.KEY}.overlays.{name}.overlay_cidr",
                        f"{overlay.overlay_cidr} takes in the address that SSH reaches the host at",
                        shown(host.ssh_hostname), "choose another network for the overlay",
                    )  # fmt: skip


def _named(path: str, text: str | None, leads: bool) -> Iterator[_Taken]:
    """An IPv4 network or address of the inventory; a name or IPv6 takes nothing of an overlay."""
    try:
        network = ip_network(text) if text and "/" in text else ip_network(ip_address(text or ""))
    except ValueError:
        return
    if isinstance(network, IPv4Network):
        yield path, network, leads


def _all(overlay: Overlay) -> list[IPv4Network]:
    return [overlay.overlay_cidr, *(c for node in overlay.nodes.values() for c in node.routed)]
