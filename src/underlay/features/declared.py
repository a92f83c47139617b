"""The sections of an inventory that say which ports its nodes will need of each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from underlay.features.calico import plan as calico
from underlay.features.calico.settings import Calico
from underlay.features.flannel.settings import Flannel
from underlay.features.ipsec.settings import IPsec
from underlay.features.preflight.settings import Preflight
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.wireguard.settings import WireGuard
from underlay.settings import Fleet
from underlay.settings.network import Network


@dataclass(frozen=True)
class Declared:
    """What one host's settings say, as the shared sections are the same on every host.

    names: of all hosts; named: keys of the sections that the inventory has.
    """

    network: Network = field(default_factory=Network)
    preflight: Preflight = field(default_factory=Preflight)
    flannel: Flannel = field(default_factory=Flannel)
    calico: Calico = field(default_factory=Calico)
    wireguard: WireGuard = field(default_factory=WireGuard)
    ipsec: IPsec = field(default_factory=IPsec)
    reflectors: RouteReflectors = field(default_factory=RouteReflectors)
    names: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()

    @property
    def calico_kinds(self) -> frozenset[str]:
        """What wraps Calico's pod packets: Felix's WireGuard, else what the pools say."""
        if self.network.encapsulation == "wireguard":
            return frozenset({"wireguard"})
        pools = [pool.encapsulation for pool in calico.pools(self.calico, self.network)]
        found = pools or [self.network.encapsulation]
        return frozenset(kind.removesuffix("-cross-subnet") for kind in found)


def declared(fleet: Fleet) -> Declared:
    """From the first host, and the sections that any host is given."""
    hosts = list(fleet)
    first = hosts[0]
    return Declared(
        first.section(Network), first.section(Preflight), first.section(Flannel),
        first.section(Calico), first.section(WireGuard), first.section(IPsec),
        first.section(RouteReflectors), tuple(host.name for host in hosts),
        frozenset(key for host in hosts for key in host.given),
    )  # fmt: skip
