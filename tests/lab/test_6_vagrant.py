"""Vagrant machines of a box made here: apply, apply again, reboot, still there, roll back.

    n1                 a plain machine
    w1 -- hub -- w2    the star, with the WireGuard overlay

libvirt and everything it makes are in a network namespace of their own (tests/lab/libvirt.py). The
deploys run there as the user `vagrant`, who becomes root by sudo.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests import machine
from tests.lab.libvirt import PACKAGES, Libvirt, libvirt
from tests.lab.machines import ROOT

from underlay.lab.box import box
from underlay.lab.progress import clock

pytestmark = pytest.mark.lab

PREPARE = ("deploys/kernel_modules.py", "deploys/sysctl.py")
READ = (
    "cat /proc/sys/net/core/somaxconn /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"
)


class Vagrant:
    """The machines of one `vagrant up`."""

    def __init__(self, own: Libvirt, kind: str, inventory: str) -> None:
        self.own = own
        self.kind = kind
        self.inventory = inventory

    def run(self, *words: str, check: bool = True, star: str = "present") -> str:
        """A command beside this libvirt; its output."""
        environment = {
            **self.own.environment, "UNDERLAY_VAGRANT": self.kind, "UNDERLAY_STAR": star,
            "UNDERLAY_VAGRANT_DRIVER": "qemu", "UNDERLAY_VAGRANT_MEMORY": "512",
            "UNDERLAY_VAGRANT_MACHINES": {"nodes": "1", "star": "3"}[self.kind],
            "PYINFRA_PROGRESS": "off",
        }  # fmt: skip
        done = subprocess.run(
            [*self.own.beside, *words], cwd=ROOT, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def on(self, name: str, command: str, *, check: bool = True) -> str:
        """Output of a shell command on one machine."""
        return self.run("vagrant", "ssh", name, "-c", command, check=check).strip()

    def applied(self, *words: str, star: str = "present") -> list[tuple[str, list[str]]]:
        """Run deploys; every operation that changed something, and where."""
        pyinfra = str(Path(sys.executable).parent / "pyinfra")
        said = self.run(pyinfra, "-y", "--json", self.inventory, *words, star=star)
        found = json.loads(said.splitlines()[-1])["results"]["operations"]
        return [(op["name"], op["success"]) for op in found if op["success"]]


@contextmanager
def machines(own: Libvirt, kind: str, inventory: str) -> Iterator[Vagrant]:
    """Up, and destroyed at the end."""
    vagrant = Vagrant(own, kind, inventory)
    try:
        # one after the other: an emulated machine takes a whole processor while it boots
        vagrant.run("vagrant", "up", "--no-parallel")
        yield vagrant
    finally:
        vagrant.run("vagrant", "destroy", "--force", check=False)


@pytest.fixture(scope="module")
def own() -> Iterator[Libvirt]:
    """A libvirt with the box in it."""
    reason = machine.install(dict(PACKAGES))
    assert reason is None, reason
    found = box(None, clock())
    with libvirt() as running:
        added = subprocess.run(
            [*running.beside, "vagrant", "box", "add", "--name", "underlay", str(found)],
            env=dict(running.environment), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        yield running


def test_node_tuning(own: Libvirt) -> None:
    with machines(own, "nodes", "inventories/vagrant.py") as nodes:
        before = nodes.on("n1", "cat /proc/sys/net/core/somaxconn")
        assert nodes.applied(*PREPARE) != []
        assert nodes.applied(*PREPARE) == []
        assert nodes.on("n1", READ).split() == ["32768", "86400"]
        nodes.run("vagrant", "reload", "n1")
        assert nodes.on("n1", READ).split() == ["32768", "86400"]
        assert nodes.applied(*PREPARE) == []
        gone = ("--data", 'sysctl={"state": "absent"}', "--data", "kube_proxy={}",
                "--data", 'kernel_modules={"state": "absent"}')  # fmt: skip
        assert nodes.applied(*gone, "deploys/sysctl.py", "deploys/kernel_modules.py") != []
        assert nodes.on("n1", "cat /proc/sys/net/core/somaxconn") == before
        assert (
            nodes.on("n1", "ls /etc/sysctl.d /etc/modules-load.d | grep underlay", check=False)
            == ""
        )


@pytest.mark.slow
def test_star_wireguard(own: Libvirt) -> None:
    deploy = "deploys/wireguard.py"
    with machines(own, "star", "inventories/star.py") as star:
        nothing = star.on("w1", "sudo ping -c 1 -W 3 10.200.0.2", check=False)
        assert "0 received" in nothing
        assert star.applied(deploy) != []
        assert "3 received" in star.on("w1", "sudo ping -c 3 -W 5 10.200.0.2")
        assert star.applied(deploy) == []
        star.run("vagrant", "reload", "hub")
        # a spoke begins a new session after 15 s without an answer from the one it had
        assert " 0 received" not in star.on("w1", "sudo ping -c 30 -i 2 -W 5 10.200.0.2")
        assert star.applied(deploy) == []
        assert star.applied(deploy, star="absent") != []
        # Vagrant itself has a word about the hub's addresses each time
        left = star.on("hub", "ip -o link; sudo ls /etc/underlay /etc/systemd/system", check=False)
        assert "LOOPBACK" in left
        assert "wg0" not in left
        assert "wireguard" not in left
