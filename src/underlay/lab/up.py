"""Bring a lab up: images, network, control plane, machines, workloads."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from underlay.errors import LabError
from underlay.lab import network, process, qemu, seed, sources, state
from underlay.lab.commands import LAB_PACKAGES, ensure, run
from underlay.lab.forward import free_ports
from underlay.lab.image import node_image
from underlay.lab.kubernetes import config, control_plane
from underlay.lab.kubernetes.binaries import Binaries, binaries
from underlay.lab.kubernetes.container_image import container_image
from underlay.lab.kubernetes.etcd import etcd
from underlay.lab.machines import start_machine
from underlay.lab.paths import lab_dir
from underlay.lab.progress import Say
from underlay.lab.state import Lab
from underlay.lab.topology import MANAGEMENT, Topology, topology
from underlay.lab.wait import wait_cluster, wait_machines

#: Where the control plane listens inside the namespace: this computer's address on `mgmt`.
API_ADDRESS = f"{MANAGEMENT}.1"


@dataclass(frozen=True)
class Request:
    """What `underlay lab up` was asked for; None means the default of the topology."""

    name: str
    topology: str = "flat"
    machines: int | None = None
    suite: str | None = None
    kubernetes: bool | None = None
    kubernetes_dir: Path | None = None
    memory: int = 1024
    install: bool = True
    timeout: float = 900
    cni: str = "bridge"


def up(request: Request, say: Say) -> Lab:
    """Make the lab and wait until it can be used; what failed half-way is removed by `down`."""
    if os.geteuid() != 0:
        raise LabError("underlay lab up: needs root for network namespaces; run it with sudo")
    wanted = topology(request.topology, request.machines)
    directory = lab_dir(request.name)
    if directory.exists():
        raise LabError(
            f"lab {request.name}: exists already; use it, or remove it with"
            f" `underlay lab down --name {request.name}`"
        )
    ensure(LAB_PACKAGES, install=request.install, say=say)
    with_kubernetes = wanted.kubernetes if request.kubernetes is None else request.kubernetes
    programs = (
        binaries(request.kubernetes_dir, say, install=request.install) if with_kubernetes else None
    )
    suite = request.suite or sources.own_suite()
    image = machine_image(suite, programs, say)
    directory.mkdir(parents=True, mode=0o700)
    try:
        lab = _create(request, wanted, suite, image, programs)
        lab = _boot(lab, programs, say, deadline=time.monotonic() + request.timeout)
    except BaseException:
        say("failed; what was started is kept for a look until `underlay lab down`")
        raise
    return state.save(replace(lab, ready=True))


def machine_image(suite: str, programs: Binaries | None, say: Say) -> Path:
    """The folder with disk and kernel of a suite, with Kubernetes when programs are given."""
    if programs is None:
        return node_image(suite, say)
    archive = container_image(suite, programs, say)
    extra: dict[str, Path | str] = {
        "/usr/local/bin/kubelet": programs.path("kubelet"),
        "/etc/systemd/system/kubelet.service": config.kubelet_unit(programs.version),
    }
    identity = programs.digest("kubelet")
    return node_image(suite, say, extra=extra, identity=identity, archive=archive)


def _create(
    request: Request, wanted: Topology, suite: str, image: Path, programs: Binaries | None
) -> Lab:
    """The state file, the keys and the namespace."""
    names = [machine.name for machine in wanted.machines]
    ports = free_ports(len(names) + 1)
    lab = state.save(
        Lab(
            name=request.name,
            topology_name=wanted.name,
            count=len(names),
            suite=suite,
            image=str(image),
            memory=request.memory,
            accelerator=qemu.accelerator(image / "vmlinuz"),
            ssh_ports=dict(zip(names, ports, strict=False)),
            api_port=ports[-1] if programs else 0,
            kubernetes=str(programs.version) if programs else "",
            binaries=str(programs.directory) if programs else "",
            cni=request.cni,
        )
    )
    for folder in ("ssh", "log", "disks"):
        (lab.directory / folder).mkdir()
    _keygen(lab.ssh_key)
    network.create(lab.netns, wanted)
    return lab


def _boot(lab: Lab, programs: Binaries | None, say: Say, *, deadline: float) -> Lab:
    lab = start_forwarder(lab)
    nodes = nodes_of(lab) if programs else []
    if programs:
        if lab.cni == "bridge":
            # the API server answers pods too
            network.add_routes(lab.netns, {node.pod_cidr: node.address for node in nodes})
        say(f"certificates for Kubernetes {programs.version}")
        control_plane.prepare(
            lab.directory / "kubernetes", programs, nodes,
            netns=lab.netns, api=API_ADDRESS, port=lab.api_port,
        )  # fmt: skip
    _seeds(lab, programs, nodes)
    for machine in lab.topology.machines:
        lab = start_machine(lab, machine.name)
    say(f"booting {len(lab.ssh_ports)} machines ({lab.suite}, {lab.accelerator})")
    if programs:
        lab = _control_plane(lab, programs, nodes, say)
    boots = wait_machines(lab, list(lab.ssh_ports), say, deadline=deadline, not_boots={})
    if programs:
        wait_cluster(lab, boots, say, deadline=deadline)
    return lab


def _control_plane(lab: Lab, programs: Binaries, nodes: list[config.Node], say: Say) -> Lab:
    """Start the control plane while the machines boot."""
    started = [lab]

    def launch(name: str, command: list[str]) -> None:
        log = lab.directory / "log" / f"{name}.log"
        child = process.start(name, command, log=log, netns=lab.netns, cwd=lab.directory)
        started[0] = state.with_process(started[0], child)

    folder = lab.directory / "kubernetes"
    access = control_plane.start(
        folder, programs, etcd(say), api=API_ADDRESS, launch=launch, log=lab.directory / "log"
    )
    say("kube-apiserver, controller-manager and scheduler run")
    control_plane.install_addons(folder, programs, nodes, access, netns=lab.netns, say=say)
    return started[0]


def start_forwarder(lab: Lab) -> Lab:
    """Start the way in from this computer."""
    rules = [f"{lab.ssh_ports[m.name]}={m.address}:22" for m in lab.topology.machines]
    if lab.api_port:
        rules.append(f"{lab.api_port}={API_ADDRESS}:{config.API_PORT}")
    command = [sys.executable, "-m", "underlay.lab.forward", lab.netns, *rules]
    log = lab.directory / "log/forward.log"
    return state.with_process(lab, process.start("forward", command, log=log, netns=None))


def nodes_of(lab: Lab) -> list[config.Node]:
    """The machines as Kubernetes nodes."""
    return [
        config.Node(
            machine.name, machine.address, config.pod_cidr(number),
            "control_plane" in machine.groups,
        )
        for number, machine in enumerate(lab.topology.machines)
    ]  # fmt: skip


def _seeds(lab: Lab, programs: Binaries | None, nodes: Sequence[config.Node]) -> None:
    """A seed and a disk per machine, and the host keys this computer will expect."""
    known = []
    for machine in lab.topology.machines:
        key = lab.directory / "disks" / f"{machine.name}.host_key"
        _keygen(key)
        public = key.with_suffix(".host_key.pub")
        files = seed.identity(
            lab.topology, machine,
            authorized_key=lab.ssh_key.with_suffix(".pub").read_text(),
            host_key=key.read_bytes(), host_key_pub=public.read_bytes(),
        )  # fmt: skip
        if programs:
            own = next(node for node in nodes if node.name == machine.name)
            files |= control_plane.node_files(lab.directory / "kubernetes", programs, own)
            if lab.cni == "bridge":
                files |= control_plane.bridge_files(own)
            routes = tuple(
                f"ip route add {node.pod_cidr} via {node.address}"
                for node in nodes
                if node.name != machine.name and lab.cni == "bridge"
            )
            # without a way out, a Service's address is unreachable before any rule is asked
            routes = (*routes, f"ip route add default via {API_ADDRESS}")
            script = seed.network_script(machine, routes)
            files["/etc/lab-net.sh"] = seed.SeedFile(script.encode(), 0o755)
        seed.write(lab.directory / "disks" / f"{machine.name}.seed", files)
        kind, text = public.read_text().split()[:2]
        known.append(f"[127.0.0.1]:{lab.ssh_ports[machine.name]} {kind} {text}")
        disk = lab.directory / "disks" / f"{machine.name}.qcow2"
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
             "-b", Path(lab.image) / "disk.ext4", disk])  # fmt: skip
    lab.known_hosts.write_text("\n".join(known) + "\n")


def _keygen(path: Path) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "underlay-lab", "-f", path])
