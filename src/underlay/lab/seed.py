"""What makes an image into one machine: a tar that the machine unpacks on its first boot."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from underlay.lab.topology import Machine, Topology


@dataclass(frozen=True)
class SeedFile:
    """One file of a machine; mode: permission bits."""

    content: bytes
    mode: int = 0o644


def identity(
    topology: Topology,
    machine: Machine,
    *,
    authorized_key: str,
    host_key: bytes,
    host_key_pub: bytes,
) -> dict[str, SeedFile]:
    """Name, addresses and keys of one machine: path -> file."""
    hosts = ["127.0.0.1 localhost", *(f"{m.address} {m.name}" for m in topology.machines)]
    return {
        "/etc/hostname": SeedFile(f"{machine.name}\n".encode()),
        "/etc/hosts": SeedFile(("\n".join(hosts) + "\n").encode()),
        "/etc/lab-net.sh": SeedFile(network_script(machine).encode(), 0o755),
        "/root/.ssh/authorized_keys": SeedFile(authorized_key.encode(), 0o600),
        "/etc/ssh/ssh_host_ed25519_key": SeedFile(host_key, 0o600),
        "/etc/ssh/ssh_host_ed25519_key.pub": SeedFile(host_key_pub),
    }


def network_script(machine: Machine, extra: tuple[str, ...] = ()) -> str:
    """The shell text that gives a machine its addresses and routes, at every boot."""
    lines = ["#!/bin/sh", "ip link set lo up"]
    for index, port in enumerate(machine.ports):
        lines += [f"ip addr add {port.address} dev eth{index}", f"ip link set eth{index} up"]
    lines += [f"ip route add {to} via {via}" for to, via in machine.routes.items()]
    if machine.forwards:
        lines.append("sysctl -qw net.ipv4.ip_forward=1")
    return "\n".join([*lines, *extra]) + "\n"


def write(path: Path, seed: Mapping[str, SeedFile]) -> None:
    """Write the tar, padded to whole MiB because a disk has whole sectors."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, file in sorted(seed.items()):
            info = tarfile.TarInfo(name.lstrip("/"))
            info.size, info.mode = len(file.content), file.mode
            tar.addfile(info, io.BytesIO(file.content))
    size = -(-len(buffer.getvalue()) // (1 << 20)) * (1 << 20)
    path.touch(mode=0o600)
    path.write_bytes(buffer.getvalue().ljust(size, b"\0"))
