"""One machine of a lab: start, stop, reboot."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

from underlay.errors import LabError
from underlay.lab import network, process, qemu, ssh, state
from underlay.lab.state import Lab


def start_machine(lab: Lab, name: str) -> Lab:
    """Start the virtual machine; LabError when it runs already."""
    machine = lab.machine(name)
    running = lab.process(name)
    if running is not None and process.alive(running):
        raise LabError(f"{name}: runs already")
    files = qemu.Files(
        disk=lab.directory / "disks" / f"{name}.qcow2",
        seed=lab.directory / "disks" / f"{name}.seed",
        console=lab.directory / "log" / f"{name}.console",
        monitor=monitor(lab, name),
    )
    ports = [tap for tap in network.taps(lab.topology) if tap.machine == machine.name]
    command = qemu.command(
        name, Path(lab.image), files, ports, memory=lab.memory, accelerator=lab.accelerator
    )
    log = lab.directory / "log" / f"{name}.log"
    return state.with_process(lab, process.start(name, command, log=log, netns=lab.netns))


def power_off(lab: Lab, name: str, *, hard: bool) -> None:
    """Shut a machine down, or with `hard` take its power away."""
    lab.machine(name)
    running = lab.process(name)
    if running is None or not process.alive(running):
        raise LabError(f"{name}: does not run")
    if not hard:
        ssh.execute(lab, name, "systemctl poweroff", timeout=30)
        until = time.monotonic() + 120
        while process.alive(running) and time.monotonic() < until:
            time.sleep(0.2)
    process.stop([running], grace=0)


def reboot(lab: Lab, name: str, *, hard: bool) -> None:
    """Reboot a machine, or with `hard` press its reset button; does not wait for it to return."""
    lab.machine(name)
    if hard:
        _monitor_command(monitor(lab, name), "system_reset")
    else:
        ssh.execute(lab, name, "systemctl reboot", timeout=60)


def monitor(lab: Lab, name: str) -> Path:
    """The QMP socket; a path longer than 107 bytes cannot be one, so it lies in /run."""
    folder = Path("/run/underlay-lab") / lab.name
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    return folder / f"{name}.qmp"


def _monitor_command(path: Path, command: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        with connection.makefile("rw") as channel:
            channel.readline()
            for execute in ("qmp_capabilities", command):
                channel.write(json.dumps({"execute": execute}) + "\n")
                channel.flush()
                channel.readline()
