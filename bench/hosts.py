"""Hosts on one computer: network namespaces with an sshd, a name and configuration of their own.

The rule: everything lies in one namespace per host and one that connects them, named after this
process; removing those and the working folder removes all. Needs root, iproute2 and OpenSSH's
server; no virtual machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: Configuration that the compared tools write; each host has its own.
OWN_FOLDERS = (
    "/etc/sysctl.d",
    "/etc/modules-load.d",
    "/etc/modprobe.d",
    "/var/lib/underlay",
    "/run",
    "/etc/cni",
    "/usr/local/sbin",
)
#: Several runs can be side by side: the names are the only thing they share.
HUB = f"underlay-bench-{os.getpid()}"
NETWORK = "198.18"
SSHD = "/usr/sbin/sshd"


@dataclass(frozen=True)
class Hosts:
    """The hosts, by address; commands that talk to them run in the namespace `hub`.

    daemons: the sshd of each, to be ended by a test that takes a host away.
    """

    addresses: tuple[str, ...]
    key: Path
    known_hosts: Path
    hub: str = HUB
    daemons: tuple[subprocess.Popen[bytes], ...] = ()

    def netns(self, number: int) -> str:
        """The namespace of one host."""
        return f"{self.hub}-{number}"

    def on(self, number: int, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the network of one host, not through SSH."""
        call = ["ip", "netns", "exec", self.netns(number), *command]
        return subprocess.run(call, capture_output=True, text=True, check=True)

    def inside(self, *command: str) -> list[str]:
        """A command line that runs where the hosts can be reached."""
        return ["ip", "netns", "exec", self.hub, *command]

    @contextmanager
    def running(self, program: str, number: int | None = None) -> Iterator[None]:
        """A python program in the network of one host, or of what connects them."""
        netns = self.hub if number is None else self.netns(number)
        call = ["ip", "netns", "exec", netns, sys.executable, "-c", program]
        with subprocess.Popen(call) as found:
            try:
                yield
            finally:
                found.terminate()

    @contextmanager
    def program(self, number: int, name: str, text: str) -> Iterator[None]:
        """A shell script that one host finds before the program of that name."""
        root = Path(f"/proc/{self.daemons[number].pid}/root")
        path = root / "usr/local/sbin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        try:
            yield
        finally:
            path.unlink()

    @contextmanager
    def dead(self, *numbers: int) -> Iterator[None]:
        """Hosts that answer nothing."""
        links = [["ip", "-n", self.netns(number), "link", "set", "eth0"] for number in numbers]
        for link in links:
            subprocess.run([*link, "down"], check=True)
        try:
            yield
        finally:
            for link in links:
                subprocess.run([*link, "up"], check=True)

    def ssh(self, address: str, remote: str) -> list[str]:
        """The plain ssh command line for one host."""
        return [
            "ssh", "-F", "/dev/null", "-i", str(self.key), "-o", "BatchMode=yes",
            "-o", f"UserKnownHostsFile={self.known_hosts}", f"root@{address}", remote,
        ]  # fmt: skip

    def sessions(self, address: str) -> int:
        """How many commands and file transfers one host's sshd has begun so far."""
        return _log(self.key.parent, address).read_text().count("Starting session: ")


@contextmanager
def hosts(
    count: int,
    folder: Path,
    *,
    hub: str = HUB,
    files: Mapping[int, Mapping[str, str]] | None = None,
) -> Iterator[Hosts]:
    """So many hosts while the context lasts.

    hub: prefix of the namespaces' names; files: number of a host -> path -> text, over the files
    that every host has of its own (`own_files`).
    """
    if not Path(SSHD).exists():
        raise SystemExit(f"{SSHD}: not there; install openssh-server")
    key = folder / "key"
    for name in ("key", "host_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    addresses = tuple(f"{NETWORK}.{number // 200}.{10 + number % 200}" for number in range(count))
    public = " ".join((folder / "host_key.pub").read_text().split()[:2])
    known = folder / "known_hosts"
    known.write_text("".join(f"{address} {public}\n" for address in addresses))
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        _network(addresses, hub)
        for number, address in enumerate(addresses):
            own = {**own_files(number), **(files or {}).get(number, {})}
            place = folder / f"host{number}"
            daemons.append(_sshd(f"{hub}-{number}", address, folder, _written(place, own)))
        found = Hosts(addresses, key, known, hub, tuple(daemons))
        for address in addresses:
            _wait(found, address)
        yield found
    finally:
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            daemon.wait()
        for name in (hub, *(f"{hub}-{number}" for number in range(count))):
            # as connections that a tool keeps open
            for pid in subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
            ).stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGTERM)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _log(folder: Path, address: str) -> Path:
    return folder / f"sshd-{address}.log"


def own_files(number: int) -> dict[str, str]:
    """What tells machines apart, for one host."""
    return {
        "/etc/hostname": f"node{number}\n",
        "/etc/machine-id": f"{number + 1:032x}\n",
        "/etc/hosts": "127.0.0.1 localhost\n",
        "/etc/resolv.conf": "nameserver 198.18.0.1\n",
        "/sys/class/dmi/id/product_uuid": f"00000000-0000-0000-0000-{number + 1:012x}\n",
        # what root's shell does on this computer is no part of a host
        "/root/.bashrc": "",
        # the computer's own daemons are in /proc, which the hosts share
        "/proc/swaps": "Filename Type Size Used Priority\n",
    }


def _written(place: Path, own: Mapping[str, str]) -> dict[str, str]:
    """Path on the host -> file here that is mounted there."""
    place.mkdir()
    found = {}
    for number, (path, text) in enumerate(own.items()):
        (place / str(number)).write_text(text)
        if text.startswith("#!"):
            (place / str(number)).chmod(0o755)
        found[path] = str(place / str(number))
    return found


def _network(addresses: tuple[str, ...], hub: str) -> None:
    _run("ip", "netns", "add", hub)
    lines = ["link set lo up", "link add b0 type bridge", f"addr add {NETWORK}.0.1/16 dev b0"]
    lines.append("link set b0 up")
    for number, _ in enumerate(addresses):
        _run("ip", "netns", "add", f"{hub}-{number}")
        lines.append(f"link add v{number} type veth peer name eth0 netns {hub}-{number}")
        lines.append(f"link set v{number} master b0 up")
    _batch(hub, lines)
    for number, address in enumerate(addresses):
        own = [
            "link set lo up", f"addr add {address}/16 dev eth0", "link set eth0 up",
            f"route add default via {NETWORK}.0.1",
        ]  # fmt: skip
        _batch(f"{hub}-{number}", own)


def _sshd(
    netns: str, address: str, folder: Path, mounted: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """sshd in a namespace whose configuration folders are empty and its own."""
    steps = [f"mkdir -p {path}; mount -t tmpfs tmpfs {path}" for path in OWN_FOLDERS]
    steps += [
        # a folder of its own may hold the file, and a computer without firmware has no uuid
        f"[ -e {path} ] || {{ mkdir -p {Path(path).parent} && : > {path}; }} 2>/dev/null;"
        f" [ ! -e {path} ] || mount --bind {here} {path}"
        for path, here in mounted.items()
    ]
    options = {
        "ListenAddress": address, "HostKey": str(folder / "host_key"), "PidFile": "none",
        "AuthorizedKeysFile": str(folder / "authorized_keys"), "PermitRootLogin": "yes",
        "StrictModes": "no", "UsePAM": "no", "MaxStartups": "64", "UseDNS": "no",
        # one line per command: what a run really cost is counted where it arrives
        "LogLevel": "VERBOSE", "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    words = " ".join(f"-o '{name}={value}'" for name, value in options.items())
    name = "hostname -F /etc/hostname 2>/dev/null || cat /etc/hostname > /proc/sys/kernel/hostname"
    daemon = f"exec {SSHD} -D -E {_log(folder, address)} -f /dev/null {words}"
    text = "; ".join([*steps, name, "mkdir -p /run/sshd", daemon])
    return subprocess.Popen(
        ["ip", "netns", "exec", netns, "unshare", "--mount", "--uts", "sh", "-c", text],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _wait(found: Hosts, address: str) -> None:
    for _ in range(100):
        command = found.inside(*found.ssh(address, "true"))
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    raise SystemExit(f"{address}: its sshd does not answer")


def _batch(netns: str, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    subprocess.run(["ip", "-n", netns, "-batch", "-"], input=text.encode(), check=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
