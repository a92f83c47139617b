"""QEMU: the command line of one machine, and whether KVM really works here."""

from __future__ import annotations

import subprocess
import time
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

#: A guest with a broken KVM aborts at once; one that works runs on.
_PROBE_SECONDS = 2.0


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


def accelerator() -> str:
    """`kvm` when a guest really starts with it, else `tcg`; asked once per boot of this computer.

    The device file alone proves nothing: nested and restricted hosts have it and abort.
    """
    if not Path("/dev/kvm").exists():
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = labs_dir().parent / f"accelerator-{boot}"
    with locked(labs_dir().parent / "accelerator.lock"):
        if not answer.is_file():
            answer.write_text("kvm" if _kvm_starts() else "tcg")
        return answer.read_text()


def _kvm_starts() -> bool:
    probe = subprocess.Popen(
        ["qemu-system-x86_64", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "64",
         "-display", "none", "-vga", "none", "-nodefaults", "-monitor", "none"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + _PROBE_SECONDS
    while time.monotonic() < until:
        if probe.poll() is not None:
            return False
        time.sleep(0.05)
    probe.kill()
    probe.wait()
    return True
