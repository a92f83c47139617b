"""QEMU: the command line of one machine, and whether KVM really works here."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from underlay.lab.cache import locked
from underlay.lab.network import Tap
from underlay.lab.paths import labs_dir

#: No offloads: what crosses a link are frames as on a wire; its MTU holds, checksums are real.
_PLAIN_FRAMES = ",".join(
    f"{name}=off"
    for name in (
        "csum", "guest_csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo",
        "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo",
    )
)  # fmt: skip

#: A kernel says its first line after less than a second with KVM, after three without.
PROBE_SECONDS = 10.0


@dataclass(frozen=True)
class Files:
    """The files of one machine: its disk, its seed, and where its console goes."""

    disk: Path
    seed: Path
    console: Path
    monitor: Path


def command(
    name: str, image: Path, files: Files, ports: list[Tap], *, memory: int, accelerator: str
) -> list[str]:
    """The command line: direct kernel boot, serial console to a file, one tap per port."""
    kvm = accelerator == "kvm"
    accel = "kvm" if kvm else "tcg,thread=multi,tb-size=256"
    nics = [
        word
        for index, tap in enumerate(ports)
        for word in (
            "-netdev",
            f"tap,id=n{index},ifname={tap.device},script=no,downscript=no",
            "-device",
            f"virtio-net-pci,netdev=n{index},mac={tap.mac},romfile=,{_PLAIN_FRAMES}",
        )
    ]
    kernel = (
        "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 systemd.show_status=0 mitigations=off"
    )
    return [
        "qemu-system-x86_64", "-name", name, "-machine", "q35", "-accel", accel,
        "-cpu", "host" if kvm else "max", "-smp", "1", "-m", str(memory),
        "-display", "none", "-vga", "none", "-nodefaults",
        "-serial", f"file:{files.console}", "-qmp", f"unix:{files.monitor},server,nowait",
        "-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img"),
        "-append", kernel,
        "-drive", f"file={files.disk},format=qcow2,if=virtio,cache=unsafe",
        "-drive", f"file={files.seed},format=raw,if=virtio,readonly=on",
        "-device", "virtio-rng-pci", *nics,
    ]  # fmt: skip


def accelerator(kernel: Path) -> str:
    """`kvm` when this kernel really boots with it, else `tcg`; asked once per computer's boot.

    The device file proves nothing, and neither does a QEMU that runs on: nested and restricted
    hosts abort, or start a guest that stands still before its kernel says a word.
    """
    if not Path("/dev/kvm").exists():
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = labs_dir().parent / f"accelerator-{boot}"
    with locked(labs_dir().parent / "accelerator.lock"):
        if not answer.is_file():
            answer.write_text("kvm" if says_its_version(probe("kvm", kernel)) else "tcg")
        return answer.read_text()


def probe(accel: str, kernel: Path) -> list[str]:
    """The command line of a guest without a disk: its kernel speaks, panics and is gone."""
    return [
        "qemu-system-x86_64", "-machine", "q35", "-accel", accel,
        "-cpu", "host" if accel == "kvm" else "max", "-m", "256",
        "-display", "none", "-vga", "none", "-nodefaults", "-monitor", "none",
        "-serial", "stdio", "-no-reboot", "-kernel", str(kernel),
        "-append", "console=ttyS0 panic=-1",
    ]  # fmt: skip


def says_its_version(command: list[str], seconds: float = PROBE_SECONDS) -> bool:
    """Whether a kernel's first line comes out of the command in time; the command is ended."""
    guest = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    ended = threading.Timer(seconds, guest.kill)
    ended.start()
    try:
        return any(b"Linux version" in line for line in guest.stdout or [])
    finally:
        ended.cancel()
        guest.kill()
        guest.wait()
        if guest.stdout is not None:
            guest.stdout.close()
