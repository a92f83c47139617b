"""SSH to the machines of a lab, as a person and as a program."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from underlay.errors import LabError
from underlay.lab.process import alive
from underlay.lab.state import Lab

#: What ssh itself ends with when there is no connection.
NO_CONNECTION = 255


@dataclass(frozen=True)
class Answer:
    """What one command on one machine gave."""

    machine: str
    code: int
    stdout: str
    stderr: str


def _options(lab: Lab, connect_timeout: int) -> dict[str, str]:
    return {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(lab.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "ConnectTimeout": str(connect_timeout),
        "LogLevel": "ERROR",
    }


def config(lab: Lab) -> str:
    """The machines for ssh_config(5), as other tools read it (`ssh -F`, pytest-testinfra)."""
    lines: list[str] = []
    for machine, port in lab.ssh_ports.items():
        own = {"HostName": "127.0.0.1", "Port": str(port), "User": "root"}
        values = {**own, "IdentityFile": str(lab.ssh_key), **_options(lab, 20)}
        lines += [f"Host {machine}", *(f"  {name} {value}" for name, value in values.items()), ""]
    return "\n".join(lines)


def command(lab: Lab, machine: str, *, connect_timeout: int = 20) -> list[str]:
    """The ssh command line for one machine, without the remote command."""
    lab.machine(machine)
    options = _options(lab, connect_timeout)
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    port = str(lab.ssh_ports[machine])
    return ["ssh", "-F", "/dev/null", "-i", str(lab.ssh_key), "-p", port, *words, "root@127.0.0.1"]


def execute(lab: Lab, machine: str, remote: str, *, timeout: float = 600) -> Answer:
    """Run one shell text on one machine; exit code 255 means that ssh had no connection."""
    try:
        done = subprocess.run(
            [*command(lab, machine), "--", remote],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Answer(machine, NO_CONNECTION, "", f"no end after {timeout} s")
    return Answer(machine, done.returncode, done.stdout, done.stderr)


def everywhere(
    lab: Lab, machines: Sequence[str], remote: str, *, timeout: float = 600
) -> list[Answer]:
    """The same on several machines at once, answers in the order of `machines`."""
    with ThreadPoolExecutor(max_workers=max(1, len(machines))) as pool:
        return list(pool.map(lambda name: execute(lab, name, remote, timeout=timeout), machines))


@dataclass(frozen=True)
class Boot:
    """One run of a machine's kernel: its identity, and when it began (seconds since the epoch)."""

    identity: str
    began: float


def boot(lab: Lab, machine: str) -> Boot | None:
    """The current boot, None while the machine does not answer."""
    remote = "cat /proc/sys/kernel/random/boot_id; sed -n 's/^btime //p' /proc/stat"
    answer = execute(lab, machine, remote, timeout=30)
    words = answer.stdout.split()
    return Boot(words[0], float(words[1])) if answer.code == 0 and len(words) == 2 else None


def wait(lab: Lab, machine: str, *, deadline: float, not_boot: Boot | None = None) -> Boot:
    """Wait until a machine answers, in another boot than `not_boot`.

    deadline: value of time.monotonic(). LabError names the console when it never answers.
    """
    while time.monotonic() < deadline:
        found = boot(lab, machine)
        if found is not None and (not_boot is None or found.identity != not_boot.identity):
            return found
        process = lab.process(machine)
        if process is not None and not alive(process):
            log = lab.directory / "log" / f"{machine}.log"
            raise LabError(f"{machine}: its virtual machine ended; see {log}")
        time.sleep(0.5)
    console = lab.directory / "log" / f"{machine}.console"
    raise LabError(f"{machine}: no answer over SSH; see its console in {console}")
