"""Node preparation on the next Debian, and that `down` leaves nothing of a lab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.machines import Machines, own_lab

from underlay.lab import down, process
from underlay.lab.process import NETNS_DIR
from underlay.lab.progress import clock

pytestmark = pytest.mark.lab

DEPLOYS = ("deploys/kernel_modules.py", "deploys/sysctl.py")
READ = "sysctl -n net.core.somaxconn net.netfilter.nf_conntrack_tcp_timeout_established"


@pytest.fixture(scope="module")
def node() -> Iterator[Machines]:
    """One machine of Debian 13, without Kubernetes."""
    yield from own_lab("next-debian", Machines, suite="trixie", machines=1, kubernetes=False)


def test_node_preparation_on_debian_13(node: Machines) -> None:
    (name,) = node.names
    assert "trixie" in node.on(name, "cat /etc/os-release")
    assert node.applied(*DEPLOYS)["success"] > 0
    node.unchanged(*DEPLOYS)
    done = node.underlay("lab", "exec", "--on", name, "--", "reboot")
    assert done.returncode == 0, done.stderr
    assert node.on(name, READ) == "32768\n86400"
    node.unchanged(*DEPLOYS)
    words = ("--data", 'sysctl={"state": "absent"}', "--data", 'kernel_modules={"state": "absent"}',
             "--data", "kube_proxy={}")  # fmt: skip
    node.applied(*words, "deploys/sysctl.py", "deploys/kernel_modules.py")
    assert "32768" not in node.on(name, "sysctl -n net.core.somaxconn")


def test_down_leaves_nothing(node: Machines) -> None:
    lab = node.lab
    running = [found for found in lab.processes if process.alive(found)]
    assert len(running) > len(node.names)
    down.down(lab.name, clock())
    assert not [found for found in running if process.alive(found)]
    assert not (NETNS_DIR / lab.netns).exists()
    assert not lab.directory.exists()
    assert not Path(f"/run/underlay-lab/{lab.name}").exists()
