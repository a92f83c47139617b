"""Vagrant machines of a box made here: apply, apply again, reboot, still there, roll back.

    n1                 a plain machine
    w1 -- hub -- w2    the star: prepared kernels and the WireGuard overlay

libvirt and everything it makes are in a network namespace of their own (tests/lab/libvirt.py). The
deploys run there as the user `vagrant`, who becomes root by sudo.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
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

NODES, STAR = "inventories/vagrant.py", "inventories/star.py"
PREPARE = ("deploys/kernel_modules.py", "deploys/sysctl.py")
READ = (
    "cat /proc/sys/net/core/somaxconn /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"
)
SOMAXCONN = "cat /proc/sys/net/core/somaxconn"
FILES = "ls /etc/sysctl.d /etc/modules-load.d | grep underlay"
MARK = "-- the machine says:"
GONE = (
    "--data", 'sysctl={"state": "absent"}', "--data", "kube_proxy={}",
    "--data", 'kernel_modules={"state": "absent"}', *reversed(PREPARE),
)  # fmt: skip


class Vagrant:
    """The machines of one `vagrant up`."""

    def __init__(self, own: Libvirt, kind: str) -> None:
        self.own = own
        self.kind = kind

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
        """Output of a shell command on one machine, without a word of Vagrant's own.

        Vagrant says on standard output what it thinks of an address that ends in .1, each time.
        """
        said = self.run("vagrant", "ssh", name, "-c", f"echo {MARK}; {command}", check=check)
        _, mark, output = said.partition(MARK)
        assert mark, f"{name} was not reached: {said}"
        return output.replace("\r", "").strip()

    def joined(self, name: str, address: str) -> None:
        """Wait for the session of a spoke whose hub is new.

        A spoke begins a new one 15 s after data of its own stayed without an answer; one that has
        nothing to say keeps the dead one for up to two minutes.
        """
        until = time.monotonic() + 120
        while " 0 received" in (said := self.on(name, f"sudo ping -c 5 {address}", check=False)):
            assert time.monotonic() < until, said

    def applied(self, *words: str, star: str = "present") -> list[tuple[str, list[str]]]:
        """pyinfra with an inventory and deploys; every operation that changed something, where."""
        pyinfra = str(Path(sys.executable).parent / "pyinfra")
        said = self.run(pyinfra, "-y", "--json", *words, star=star)
        found = json.loads(said.splitlines()[-1])["results"]["operations"]
        return [(op["name"], op["success"]) for op in found if op["success"]]


@contextmanager
def machines(own: Libvirt, kind: str) -> Iterator[Vagrant]:
    """Up, and destroyed at the end."""
    vagrant = Vagrant(own, kind)
    try:
        vagrant.run("vagrant", "up")
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


def tuned(nodes: Vagrant, name: str) -> bool:
    """Whether the values of the deploys are live on a machine."""
    return nodes.on(name, READ).split() == ["32768", "86400"]


def test_star_wireguard_and_node_tuning(own: Libvirt) -> None:
    prepare, overlay = (NODES, *PREPARE), (STAR, "deploys/wireguard.py")
    with machines(own, "star") as star:
        before = star.on("hub", SOMAXCONN)
        nothing = star.on("w1", "sudo ping -c 1 -W 3 10.200.0.2", check=False)
        assert "0 received" in nothing
        for words in (prepare, overlay):
            assert star.applied(*words) != []
        assert "3 received" in star.on("w1", "sudo ping -c 3 -W 5 10.200.0.2")
        assert all(tuned(star, name) for name in ("hub", "w1", "w2"))
        for words in (prepare, overlay):
            assert star.applied(*words) == []

        star.run("vagrant", "reload", "hub")
        assert tuned(star, "hub")
        star.joined("w2", "10.200.0.100")
        star.joined("w1", "10.200.0.2")
        for words in (prepare, overlay):
            assert star.applied(*words) == []

        assert star.applied(*overlay, star="absent") != []
        assert star.applied(NODES, *GONE) != []
        left = star.on("hub", "ip -o link; sudo ls /etc/underlay /etc/systemd/system", check=False)
        assert "LOOPBACK" in left
        assert "wg0" not in left
        assert "wireguard" not in left
        assert star.on("hub", SOMAXCONN) == before
        assert star.on("hub", FILES, check=False) == ""


@pytest.mark.slow
def test_plain_machines(own: Libvirt) -> None:
    with machines(own, "nodes") as nodes:
        assert nodes.applied(NODES, *PREPARE) != []
        assert nodes.applied(NODES, *PREPARE) == []
        nodes.run("vagrant", "reload", "n1")
        assert tuned(nodes, "n1")
        assert nodes.applied(NODES, *PREPARE) == []
        assert nodes.applied(NODES, *GONE) != []
        assert nodes.on("n1", FILES, check=False) == ""
