"""What is known of a lab that exists: one JSON file in its folder, written as things happen.

The rule: a process is recorded as soon as it runs, so that `lab down` finds it after any crash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from underlay.errors import LabError
from underlay.lab.cache import locked
from underlay.lab.paths import lab_dir, labs_dir
from underlay.lab.process import Process
from underlay.lab.topology import Machine, Topology, topology


@dataclass(frozen=True)
class Shape:
    """What a link does to frames: loss in percent and one-way delay in ms."""

    loss: float = 0.0
    delay: float = 0.0


@dataclass(frozen=True)
class Lab:
    """One lab.

    ssh_ports: machine -> port on 127.0.0.1; api_port: the same for the kube-apiserver, 0 without
    Kubernetes; image: folder of the node image; memory: MiB of each machine; accelerator: `kvm` or
    `tcg`; kubernetes: version such as `1.20.2`, or ""; cni: `bridge`, or `none` where nobody gives
    pods a network until a CNI is installed.
    """

    name: str
    topology_name: str
    count: int
    suite: str
    image: str
    memory: int
    accelerator: str
    ssh_ports: dict[str, int]
    api_port: int = 0
    kubernetes: str = ""
    cni: str = "bridge"
    binaries: str = ""
    ready: bool = False
    processes: tuple[Process, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The folder of this lab."""
        return lab_dir(self.name)

    @property
    def netns(self) -> str:
        """The network namespace of this lab."""
        return f"underlay-{self.name}"

    @property
    def topology(self) -> Topology:
        """The machines and links."""
        return topology(self.topology_name, self.count)

    @property
    def ssh_key(self) -> Path:
        """The private key that every machine of the lab accepts for root."""
        return self.directory / "ssh/id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The host keys of the machines, as seen on 127.0.0.1."""
        return self.directory / "ssh/known_hosts"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of the administrator, for use on this computer."""
        return self.directory / "kubernetes/admin.local.conf"

    def machine(self, name: str) -> Machine:
        """One machine by name; LabError names those there are."""
        for machine in self.topology.machines:
            if machine.name == name:
                return machine
        names = ", ".join(machine.name for machine in self.topology.machines)
        raise LabError(f"lab {self.name}: no such machine (got {name!r}); it has {names}")

    def process(self, name: str) -> Process | None:
        """The recorded process of that name."""
        return next((process for process in self.processes if process.name == name), None)


def save(lab: Lab) -> Lab:
    """Write the state file whole; returns the lab for chaining."""
    target = lab.directory / "lab.json"
    new = target.with_suffix(".new")
    new.write_text(json.dumps(asdict(lab), indent=1) + "\n")
    new.rename(target)
    return lab


def with_process(lab: Lab, process: Process) -> Lab:
    """Record a process that just started, in place of an earlier one of that name.

    What another command recorded meanwhile is kept: the file is read again under a lock.
    """
    with locked(lab.directory / "lab.lock"):
        there = load(lab.name).processes if (lab.directory / "lab.json").exists() else ()
        others = tuple(known for known in there if known.name != process.name)
        return save(replace(lab, processes=(*others, process)))


def load(name: str) -> Lab:
    """One lab by name; LabError when it does not exist."""
    path = lab_dir(name) / "lab.json"
    try:
        text = path.read_text()
    except OSError as error:
        there = ", ".join(existing()) or "none"
        raise LabError(
            f"lab {name}: not running (labs: {there}); start it with"
            f" `underlay lab up --name {name}`"
        ) from error
    try:
        raw = json.loads(text)
        raw["processes"] = tuple(Process(**process) for process in raw["processes"])
        raw["shapes"] = {link: Shape(**shape) for link, shape in raw["shapes"].items()}
        return Lab(**raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(
            f"lab {name}: {path} is not readable ({error}); remove the lab with"
            f" `underlay lab down --name {name}`"
        ) from error


def existing() -> list[str]:
    """Names of all labs that have a folder, running or broken."""
    folder = labs_dir()
    return (
        sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    )


def chosen() -> Lab:
    """The lab that commands and inventories mean: UNDERLAY_LAB, else `lab`, else the only one."""
    given = os.environ.get("UNDERLAY_LAB")
    if given:
        return load(given)
    there = existing()
    return load(there[0] if len(there) == 1 else "lab")


def groups(machines: Iterable[Machine]) -> list[str]:
    """Every group once, in the order of the machines."""
    return list(dict.fromkeys(group for machine in machines for group in machine.groups))
