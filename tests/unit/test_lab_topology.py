"""Topologies: who shares a link with whom, and what a machine is told at boot."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from underlay.errors import LabError
from underlay.lab import network
from underlay.lab.seed import network_script
from underlay.lab.topology import TOPOLOGIES, topology


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_addresses_names_and_devices_are_unique(name: str) -> None:
    found = topology(name)
    addresses = [ip_interface(port.address).ip for m in found.machines for port in m.ports]
    assert len(set(addresses)) == len(addresses)
    devices = [tap.device for tap in network.taps(found)]
    assert len(set(devices)) == len(devices)
    assert all(len(f"i{device}") <= 15 for device in devices)
    assert all(len(network.bridge(link)) <= 15 for link in found.links)
    macs = [tap.mac for tap in network.taps(found)]
    assert len(set(macs)) == len(macs)


def test_leaves_of_a_star_share_a_link_with_the_hub_only() -> None:
    found = topology("star", 4)
    assert found.isolated
    for link in found.links[1:]:
        ends = [m.name for m in found.machines for port in m.ports if port.link == link]
        assert len(ends) == 2
        assert ends[0] == "hub"


def test_gateways_of_two_sites_forward_and_their_hosts_do_not() -> None:
    scripts = {m.name: network_script(m) for m in topology("two-sites").machines}
    assert {name for name, text in scripts.items() if "ip_forward=1" in text} == {"a-gw", "b-gw"}
    assert "ip route add 10.20.0.0/24 via 10.10.0.1" in scripts["a1"]


@pytest.mark.parametrize(("name", "count"), [("flat", 0), ("flat", 21), ("two-sites", 3)])
def test_an_impossible_number_of_machines_is_refused(name: str, count: int) -> None:
    with pytest.raises(LabError, match="got"):
        topology(name, count)
