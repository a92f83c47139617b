"""The star topology, links that are changed, and node preparation on the next Debian.

w1 -- hub -- w2          star, Debian 13: a leaf reaches only the hub
a1 - a-gw ==transit== b-gw - b1     two-sites: in clear, until somebody encrypts it
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.lab.machines import Machines, own_lab, pings

from underlay.lab import links

pytestmark = pytest.mark.lab

DEPLOYS = ("deploys/kernel_modules.py", "deploys/sysctl.py")
READ = "sysctl -n net.core.somaxconn net.netfilter.nf_conntrack_tcp_timeout_established"


@pytest.fixture(scope="module")
def star() -> Iterator[Machines]:
    """A hub and two leaves of Debian 13."""
    yield from own_lab("scenario-star", Machines, topology="star", suite="trixie")


def test_a_leaf_reaches_only_the_hub(star: Machines) -> None:
    assert pings(star, "w1", "10.88.1.1")
    assert not pings(star, "w1", "10.88.2.2")
    assert not pings(star, "w1", star.lab.machine("w2").address)


def test_a_link_has_the_mtu_and_the_loss_it_is_given(star: Machines) -> None:
    lab = links.set_link(star.lab, "hub-w1", mtu=1400)
    assert pings(star, "w1", "10.88.1.1", "-M", "do", "-s", "1372")
    assert not pings(star, "w1", "10.88.1.1", "-M", "do", "-s", "1373")
    lab = links.set_link(lab, "hub-w1", mtu=1500, loss=100)
    assert not pings(star, "w1", "10.88.1.1")
    lab = links.set_link(lab, "hub-w1", loss=0)
    assert pings(star, "w1", "10.88.1.1", "-M", "do", "-s", "1472")
    links.cut(lab, "w2")
    assert not pings(star, "hub", "10.88.2.2")
    links.join(lab, "w2")
    assert pings(star, "hub", "10.88.2.2")


def test_node_preparation_on_debian_13(star: Machines) -> None:
    assert "trixie" in star.on("hub", "cat /etc/os-release")
    assert star.applied(*DEPLOYS)["success"] > 0
    star.unchanged(*DEPLOYS)
    done = star.underlay("lab", "exec", "--on", "hub", "--", "reboot")
    assert done.returncode == 0, done.stderr
    assert set(star.everywhere(READ).values()) == {"32768\n86400"}
    star.unchanged(*DEPLOYS)
    words = ("--data", 'sysctl={"state": "absent"}', "--data", 'kernel_modules={"state": "absent"}',
             "--data", "kube_proxy={}")  # fmt: skip
    star.applied(*words, "deploys/sysctl.py", "deploys/kernel_modules.py")
    assert "32768" not in star.on("w1", "sysctl -n net.core.somaxconn")
