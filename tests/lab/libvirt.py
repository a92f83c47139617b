"""libvirt in a network namespace of its own, for Vagrant machines that touch nothing else.

The rule: its sockets, networks, images and settings are in one temporary folder that only this
libvirt and the commands run beside it see, and nothing of it lives longer than the `with` block. It
needs no service of this computer and no user that a package would make.

    python -m tests.lab.libvirt COMMAND...     run a command beside a libvirt of its own
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import machine

PACKAGES = (
    ("vagrant", "vagrant"),
    ("/usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json", "vagrant-libvirt"),
    ("libvirtd", "libvirt-daemon"),
    ("virsh", "libvirt-clients"),
    ("dnsmasq", "dnsmasq-base"),
    ("iptables", "iptables"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
)

#: Where libvirt keeps things; each is a folder of ours to it.
_PLACES = {
    "/etc/libvirt": "etc", "/var/lib/libvirt": "lib", "/var/cache/libvirt": "cache",
    "/var/log/libvirt": "log", "/run/libvirt": "run",
}  # fmt: skip
_QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
"""
_DAEMON_CONF = 'auth_unix_rw = "none"\nauth_unix_ro = "none"\n'
#: libvirtd looks for these before it reads that it should be root; a package would make them.
_ACCOUNTS = {
    "passwd": "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin",
    "group": "libvirt-qemu:x:64055:\nlibvirt:x:64056:\nkvm:x:64057:",
}


class Libvirt:
    """A running libvirt; `beside` is what puts a command into its namespaces."""

    def __init__(self, folder: Path, netns: str, daemon: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.netns = netns
        self.daemon = daemon

    @property
    def beside(self) -> list[str]:
        """Words to put before a command."""
        return ["nsenter", "--target", str(self.daemon.pid), "--net", "--mount", "--wd=."]

    @property
    def environment(self) -> Mapping[str, str]:
        """What Vagrant must know: its own home, no look for news, and this libvirt."""
        return {
            **os.environ,
            "LIBVIRT_DEFAULT_URI": "qemu:///system",
            "VAGRANT_HOME": str(self.folder / "vagrant"),
            "VAGRANT_DOTFILE_PATH": str(self.folder / "dotfiles"),
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "VAGRANT_CHECKPOINT_DISABLE": "1",
        }


@contextmanager
def libvirt() -> Iterator[Libvirt]:
    """Start it, and end whatever ran in its namespace."""
    folder = Path(tempfile.mkdtemp(prefix="libvirt-of-underlay-"))
    netns = folder.name
    _run("ip", "netns", "add", netns)
    try:
        _run("ip", "-n", netns, "link", "set", "lo", "up")
        daemon = _start(folder, netns)
        yield Libvirt(folder, netns, daemon)
    finally:
        _end(netns)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, netns: str) -> subprocess.Popen[bytes]:
    mounts = []
    for place, name in _PLACES.items():
        (folder / name).mkdir()
        Path(place).mkdir(parents=True, exist_ok=True)
        mounts.append(f"mount --bind {folder / name} {place}")
    (folder / "etc/qemu.conf").write_text(_QEMU_CONF)
    (folder / "etc/libvirtd.conf").write_text(_DAEMON_CONF)
    for name, more in _ACCOUNTS.items():
        known = Path("/etc", name).read_text()
        there = {line.split(":")[0] for line in known.splitlines()}
        added = [line for line in more.splitlines() if line.split(":")[0] not in there]
        (folder / name).write_text("\n".join([known.rstrip("\n"), *added]) + "\n")
        mounts.append(f"mount --bind {folder / name} /etc/{name}")
    # `ip netns exec` gives the shell a mount namespace of its own, which libvirtd inherits
    script = " && ".join([*mounts, "exec libvirtd"])
    with (folder / "log/libvirtd.log").open("wb") as log:
        daemon = subprocess.Popen(
            ["ip", "netns", "exec", netns, "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    until = time.monotonic() + 60
    while not (folder / "run/libvirt-sock").exists():
        told = (folder / "log/libvirtd.log").read_text(errors="replace")[-2000:]
        assert daemon.poll() is None, f"libvirtd ended: {told}"
        assert time.monotonic() < until, f"libvirtd does not listen: {told}"
        time.sleep(0.2)
    return daemon


def _end(netns: str) -> None:
    """End every process in the namespace, then the namespace and its devices."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + 20
        while (pids := _pids(netns)) and time.monotonic() < until:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, sign)
            time.sleep(0.3)
    _run("ip", "netns", "del", netns)


def _pids(netns: str) -> list[int]:
    done = subprocess.run(
        ["ip", "netns", "pids", netns], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in done.stdout.split()]


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    reason = machine.install(dict(PACKAGES))
    if reason:
        sys.exit(reason)
    with libvirt() as own:
        ran = subprocess.run([*own.beside, *sys.argv[1:]], env=own.environment, check=False)
    sys.exit(ran.returncode)
