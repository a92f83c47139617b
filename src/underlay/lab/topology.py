"""Topologies as data: which machines there are, and which links they share. Pure.

The rule: eth0 of every machine is on `mgmt`, which reaches this computer; where a topology says
that machines cannot reach each other, the ports of `mgmt` are isolated from each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from underlay.errors import LabError

#: The network of eth0; this computer's side has the first address.
MANAGEMENT = "10.77.0"


@dataclass(frozen=True)
class Port:
    """One interface of a machine.

    link: name of the link; address: IPv4 address with prefix length.
    """

    link: str
    address: str


@dataclass(frozen=True)
class Machine:
    """One virtual machine; `ports` become eth0, eth1, ... in this order.

    routes: destination CIDR -> next hop, set at every boot; forwards: it routes between its ports.
    """

    name: str
    groups: tuple[str, ...]
    ports: tuple[Port, ...]
    routes: Mapping[str, str] = field(default_factory=dict)
    forwards: bool = False

    @property
    def address(self) -> str:
        """The management address, without prefix length."""
        return self.ports[0].address.partition("/")[0]


@dataclass(frozen=True)
class Topology:
    """A named set of machines.

    isolated: machines cannot reach each other over `mgmt`; kubernetes: it carries a cluster.
    """

    name: str
    machines: tuple[Machine, ...]
    isolated: bool
    kubernetes: bool

    @property
    def links(self) -> tuple[str, ...]:
        """Every link once, `mgmt` first."""
        return tuple(dict.fromkeys(port.link for m in self.machines for port in m.ports))


def flat(count: int) -> Topology:
    """All on one L2: cp1 is the control-plane host, the others are workers."""
    names = ["cp1", *(f"w{number}" for number in range(1, count))]
    machines = tuple(
        Machine(name, ("control_plane",) if number == 0 else ("workers",), (_mgmt(number),))
        for number, name in enumerate(names)
    )
    return Topology("flat", machines, isolated=False, kubernetes=True)


def star(count: int) -> Topology:
    """A hub and leaves, each leaf on a link of its own: leaves reach only the hub."""
    leaves = range(1, count)
    hub_ports = tuple(Port(f"hub-w{n}", f"10.88.{n}.1/24") for n in leaves)
    hub = Machine("hub", ("control_plane", "hubs"), (_mgmt(0), *hub_ports))
    spokes = tuple(
        Machine(f"w{n}", ("workers", "spokes"), (_mgmt(n), Port(f"hub-w{n}", f"10.88.{n}.2/24")))
        for n in leaves
    )
    return Topology("star", (hub, *spokes), isolated=True, kubernetes=False)


def two_sites(count: int) -> Topology:
    """Two sites with a gateway each, and a transit network between the gateways.

    Without IPsec the gateways route in clear, so that a test can see plaintext before.
    """
    if count != 4:
        raise LabError(f"two-sites: has 4 machines (got {count}); leave --machines out")
    a_gw = Machine(
        "a-gw",
        ("gateways", "site_a"),
        (_mgmt(0), Port("site-a", "10.10.0.1/24"), Port("transit", "192.0.2.1/24")),
        {"10.20.0.0/24": "192.0.2.2"},
        forwards=True,
    )
    a1 = Machine(
        "a1",
        ("workers", "site_a"),
        (_mgmt(1), Port("site-a", "10.10.0.11/24")),
        {"10.20.0.0/24": "10.10.0.1"},
    )
    b_gw = Machine(
        "b-gw",
        ("gateways", "site_b"),
        (_mgmt(2), Port("site-b", "10.20.0.1/24"), Port("transit", "192.0.2.2/24")),
        {"10.10.0.0/24": "192.0.2.1"},
        forwards=True,
    )
    b1 = Machine(
        "b1",
        ("workers", "site_b"),
        (_mgmt(3), Port("site-b", "10.20.0.11/24")),
        {"10.10.0.0/24": "10.20.0.1"},
    )
    return Topology("two-sites", (a_gw, a1, b_gw, b1), isolated=True, kubernetes=False)


#: name -> (factory by number of machines, default number)
TOPOLOGIES: Mapping[str, tuple[Callable[[int], Topology], int]] = {
    "flat": (flat, 3),
    "star": (star, 3),
    "two-sites": (two_sites, 4),
}


def topology(name: str, count: int | None = None) -> Topology:
    """One topology by name; LabError for a number of machines that it cannot have."""
    factory, default = TOPOLOGIES[name]
    number = default if count is None else count
    if not 1 <= number <= 20:
        raise LabError(f"--machines: between 1 and 20 (got {number})")
    return factory(number)


def _mgmt(number: int) -> Port:
    return Port("mgmt", f"{MANAGEMENT}.{10 + number}/24")
