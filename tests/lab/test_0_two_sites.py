"""The two-sites topology, and that `down` leaves nothing.

a1 - a-gw ==transit== b-gw - b1      in clear, until somebody encrypts it
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.machines import Machines, own_lab, pings

from underlay.lab import down, network, process
from underlay.lab.process import NETNS_DIR
from underlay.lab.progress import clock

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def sites() -> Iterator[Machines]:
    """Two sites and the network between them."""
    yield from own_lab("scenario-sites", Machines, topology="two-sites")


def test_the_transit_network_sees_plaintext_between_sites(sites: Machines) -> None:
    lab = sites.lab
    sniffer = subprocess.Popen(
        ["ip", "netns", "exec", lab.netns, "tcpdump", "-nl", "-c", "2", "-i",
         network.bridge("transit"), "icmp"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert pings(sites, "a1", "10.20.0.11")
        text, _ = sniffer.communicate(timeout=30)
    finally:
        sniffer.kill()
    assert "10.10.0.11 > 10.20.0.11: ICMP echo request" in text


def test_down_leaves_nothing(sites: Machines) -> None:
    lab = sites.lab
    running = [found for found in lab.processes if process.alive(found)]
    assert len(running) > len(sites.names)
    down.down(lab.name, clock())
    assert not [found for found in running if process.alive(found)]
    assert not (NETNS_DIR / lab.netns).exists()
    assert not lab.directory.exists()
    assert not Path(f"/run/underlay-lab/{lab.name}").exists()
