"""The control plane of a lab: certificates by kubeadm, then four native processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import yaml

from underlay.cluster import Api
from underlay.cluster.access import from_kubeconfig
from underlay.cluster.objects import NODE
from underlay.errors import LabError
from underlay.lab.commands import run
from underlay.lab.kubernetes import api as asking
from underlay.lab.kubernetes import config, workloads
from underlay.lab.kubernetes.binaries import Binaries
from underlay.lab.kubernetes.config import Node
from underlay.lab.progress import Say
from underlay.lab.seed import SeedFile

#: Starts one program in the lab's namespace: name, command line.
Launch = Callable[[str, list[str]], None]


def prepare(
    directory: Path, binaries: Binaries, nodes: list[Node], *, netns: str, api: str, port: int
) -> None:
    """Certificates and kubeconfigs below `directory`; `port` is the API server's on 127.0.0.1."""
    directory.mkdir(mode=0o700)
    pki = directory / "pki"
    for node in nodes:
        (directory / node.name).mkdir()
        text = config.kubeadm_config(binaries.version, node=node.name, api_address=api, pki=pki)
        (directory / node.name / "kubeadm.yaml").write_text(text)
    first = directory / nodes[0].name / "kubeadm.yaml"
    kubeadm = ["ip", "netns", "exec", netns, str(binaries.path("kubeadm")), "init", "phase"]
    run([*kubeadm, "certs", "all", "--config", first])
    for name in config.kubeconfigs(binaries.version):
        run([*kubeadm, "kubeconfig", name, "--config", first, "--kubeconfig-dir", directory])
    for node in nodes:
        own = directory / node.name
        run([*kubeadm, "kubeconfig", "kubelet", "--config", own / "kubeadm.yaml",
             "--kubeconfig-dir", own])  # fmt: skip
    _local(directory / "admin.conf", directory / "admin.local.conf", port)
    privileged = directory / "super-admin.conf"
    source = privileged if privileged.is_file() else directory / "admin.conf"
    _local(source, directory / "lab.local.conf", port)


def node_files(directory: Path, binaries: Binaries, node: Node) -> dict[str, SeedFile]:
    """What one machine needs to be a node: path -> file."""
    kubelet = (directory / node.name / "kubelet.conf").read_bytes()
    found = {
        "/etc/kubernetes/pki/ca.crt": SeedFile((directory / "pki/ca.crt").read_bytes()),
        "/etc/kubernetes/kubelet.conf": SeedFile(kubelet, 0o600),
        "/etc/default/kubelet": SeedFile(config.kubelet_defaults(node).encode()),
        "/var/lib/kubelet/config.yaml": SeedFile(config.kubelet_config(binaries.version).encode()),
        # names of the lab's own, so that a deploy's files have no neighbour to fight with
        "/etc/modules-load.d/10-lab.conf": SeedFile(b"br_netfilter\noverlay\n"),
        "/etc/sysctl.d/10-lab.conf": SeedFile(
            b"net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\n"
        ),
    }
    if node.control_plane:
        admin = (directory / "admin.conf").read_bytes()
        found["/etc/kubernetes/admin.conf"] = SeedFile(admin, 0o600)
    return found


def bridge_files(node: Node) -> dict[str, SeedFile]:
    """The lab's own pod network on one machine: path -> file."""
    return {"/etc/cni/net.d/10-lab.conflist": SeedFile(config.cni_conflist(node).encode())}


def start(
    directory: Path, binaries: Binaries, etcd: Path, *, api: str, launch: Launch, log: Path
) -> Api:
    """Start etcd, the API server, then what needs it; returns when service accounts exist."""
    pki = directory / "pki"
    version = binaries.version
    launch("etcd", [str(etcd), *config.etcd_flags(pki, directory / "etcd")])
    flags = config.apiserver_flags(version, api_address=api, pki=pki)
    launch("kube-apiserver", [str(binaries.path("kube-apiserver")), *flags])
    deadline = time.monotonic() + 180
    access = from_kubeconfig(directory / "lab.local.conf")
    asking.wait_ready(access, deadline=deadline, log=log / "kube-apiserver.log")
    flags = config.controller_manager_flags(directory=directory, pki=pki)
    launch("kube-controller-manager", [str(binaries.path("kube-controller-manager")), *flags])
    launch("kube-scheduler", [str(binaries.path("kube-scheduler")),
                              *config.scheduler_flags(directory=directory)])  # fmt: skip
    if version.at_least(29):
        asking.apply(access, [workloads.admin_binding()])
    while not all(asking.has_service_account(access, name) for name in ("default", "kube-system")):
        if time.monotonic() > deadline:
            raise LabError(
                f"kube-controller-manager: made no service account; see {log}/"
                "kube-controller-manager.log"
            )
        time.sleep(0.3)
    return access


def install_addons(
    directory: Path, binaries: Binaries, nodes: list[Node], access: Api, *, netns: str, say: Say
) -> None:
    """Node objects, kubeadm's own kube-proxy, and the echo workload."""
    for node in workloads.nodes(nodes):
        access.create(NODE, node)
    say("kubeadm's kube-proxy: ConfigMap, DaemonSet and RBAC")
    admin = directory / "super-admin.conf"
    conf = admin if admin.is_file() else directory / "admin.conf"
    first = directory / nodes[0].name / "kubeadm.yaml"
    run(["ip", "netns", "exec", netns, binaries.path("kubeadm"), "init", "phase", "addon",
         "kube-proxy", "--config", first, "--kubeconfig", conf])  # fmt: skip
    asking.apply(access, workloads.echo(nodes[-1].name))


def _local(source: Path, target: Path, port: int) -> None:
    """The same kubeconfig for this computer, through the forwarded port."""
    found = yaml.safe_load(source.read_text())
    for cluster in found["clusters"]:
        cluster["cluster"]["server"] = f"https://127.0.0.1:{port}"
    target.touch(mode=0o600)
    target.write_text(yaml.safe_dump(found))
