"""The lab's network namespace: a bridge per link, a tap per interface of a machine.

The rule: nothing is made outside the namespace, so deleting it removes every device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from underlay.lab.commands import run
from underlay.lab.process import NETNS_DIR
from underlay.lab.topology import MANAGEMENT, Topology


@dataclass(frozen=True)
class Tap:
    """One interface of a machine as the host sees it."""

    device: str
    machine: str
    link: str
    mac: str


def taps(topology: Topology) -> list[Tap]:
    """Every interface of every machine: device names fit 15 characters, addresses are stable."""
    return [
        Tap(f"t{number}-{index}", machine.name, port.link, f"52:54:00:77:{number:02x}:{index:02x}")
        for number, machine in enumerate(topology.machines)
        for index, port in enumerate(machine.ports)
    ]


def bridge(link: str) -> str:
    """The bridge device of a link; device names have at most 15 characters."""
    name = f"b-{link}"
    return name if len(name) <= 15 else f"b-{hashlib.sha256(link.encode()).hexdigest()[:12]}"


def create(netns: str, topology: Topology) -> None:
    """Make the namespace, its bridges and taps."""
    run(["ip", "netns", "add", netns])
    run(["ip", "-n", netns, "-batch", "-"], stdin="\n".join(_batch(topology)) + "\n")
    quiet = "net.ipv4.ip_forward=0 net.ipv6.conf.all.disable_ipv6=1"
    run(["ip", "netns", "exec", netns, "sysctl", "-qw", *quiet.split()])


def _batch(topology: Topology) -> Iterator[str]:
    yield "link set lo up"
    for link in topology.links:
        yield f"link add {bridge(link)} type bridge mcast_snooping 0"
        yield f"link set {bridge(link)} up"
    yield f"addr add {MANAGEMENT}.1/24 dev {bridge('mgmt')}"
    for tap in taps(topology):
        yield f"tuntap add dev {tap.device} mode tap"
        yield from _joined(topology, tap.device, tap.link)


def join_bridge(netns: str, topology: Topology, device: str, link: str) -> None:
    """Make a device a port of the link's bridge."""
    run(["ip", "-n", netns, "-batch", "-"], stdin="\n".join(_joined(topology, device, link)) + "\n")


def _joined(topology: Topology, device: str, link: str) -> Iterator[str]:
    yield f"link set {device} master {bridge(link)} up"
    if topology.isolated and link == "mgmt":
        yield f"link set {device} type bridge_slave isolated on"


def add_routes(netns: str, routes: Mapping[str, str]) -> None:
    """Routes of the namespace itself: destination to next hop."""
    for to, via in routes.items():
        run(["ip", "-n", netns, "route", "add", to, "via", via])


def delete(netns: str) -> None:
    """Remove the namespace with everything in it; a missing one is fine."""
    if (NETNS_DIR / netns).exists():
        run(["ip", "netns", "delete", netns])
