"""Configuration files and flags of every component, by version. Pure.

The rule: every difference between releases of Kubernetes is in this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from underlay.lab.kubernetes.version import Version

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
API_PORT = 6443
CRI_SOCKET = "unix:///run/containerd/containerd.sock"

#: Images are assembled here; no registry is asked for this name.
IMAGE_REPOSITORY = "lab.local"


@dataclass(frozen=True)
class Node:
    """One node: its name, address, and the pods' CIDR on it."""

    name: str
    address: str
    pod_cidr: str
    control_plane: bool


def pod_cidr(number: int) -> str:
    """The pod CIDR of the node with that number."""
    return f"10.244.{number}.0/24"


def kubeadm_config(version: Version, *, node: str, api_address: str, pki: Path) -> str:
    """The kubeadm configuration: InitConfiguration and ClusterConfiguration as YAML documents."""
    api = "v1beta4" if version.at_least(31) else "v1beta3" if version.at_least(22) else "v1beta2"
    group = f"kubeadm.k8s.io/{api}"
    socket = CRI_SOCKET if version.at_least(24) else CRI_SOCKET.removeprefix("unix://")
    init = {
        "apiVersion": group,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": api_address, "bindPort": API_PORT},
        "nodeRegistration": {"name": node, "criSocket": socket},
    }
    cluster = {
        "apiVersion": group,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": f"v{version}",
        "certificatesDir": str(pki),
        "imageRepository": IMAGE_REPOSITORY,
        "controlPlaneEndpoint": f"{api_address}:{API_PORT}",
        "networking": {"podSubnet": POD_CIDR, "serviceSubnet": SERVICE_CIDR},
        "apiServer": {"certSANs": ["127.0.0.1", "localhost"]},
    }
    return yaml.safe_dump_all([init, cluster], sort_keys=False)


def kubeconfigs(version: Version) -> tuple[str, ...]:
    """The kubeadm `init phase kubeconfig` names; 1.29 split admin from the super-admin."""
    base = ("admin", "controller-manager", "scheduler")
    return (*base, "super-admin") if version.at_least(29) else base


def etcd_flags(pki: Path, data: Path) -> list[str]:
    """Flags of etcd on loopback inside the namespace; a lab's data need not survive a power cut."""
    client = "https://127.0.0.1:2379"
    return [
        f"--data-dir={data}", "--unsafe-no-fsync", "--log-level=warn",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        f"--cert-file={pki}/etcd/server.crt", f"--key-file={pki}/etcd/server.key",
        "--client-cert-auth", f"--trusted-ca-file={pki}/etcd/ca.crt",
    ]  # fmt: skip


def apiserver_flags(version: Version, *, api_address: str, pki: Path) -> list[str]:
    """Flags of kube-apiserver."""
    flags = {
        "advertise-address": api_address,
        "bind-address": api_address,
        "secure-port": API_PORT,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": f"{pki}/ca.crt",
        "enable-admission-plugins": "NodeRestriction",
        "etcd-cafile": f"{pki}/etcd/ca.crt",
        "etcd-certfile": f"{pki}/apiserver-etcd-client.crt",
        "etcd-keyfile": f"{pki}/apiserver-etcd-client.key",
        "etcd-servers": "https://127.0.0.1:2379",
        "kubelet-client-certificate": f"{pki}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{pki}/apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": f"{pki}/sa.pub",
        "service-account-signing-key-file": f"{pki}/sa.key",
        "service-cluster-ip-range": SERVICE_CIDR,
        "tls-cert-file": f"{pki}/apiserver.crt",
        "tls-private-key-file": f"{pki}/apiserver.key",
        "proxy-client-cert-file": f"{pki}/front-proxy-client.crt",
        "proxy-client-key-file": f"{pki}/front-proxy-client.key",
        "requestheader-client-ca-file": f"{pki}/front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
    }
    # an unauthenticated port until 1.20, the flag gone in 1.24
    insecure = {} if version.at_least(24) else {"insecure-port": 0}
    return _words({**flags, **insecure})


def controller_manager_flags(*, directory: Path, pki: Path) -> list[str]:
    """Flags of kube-controller-manager; nodes get their pod CIDR when they are created."""
    conf = f"{directory}/controller-manager.conf"
    return _words({
        "kubeconfig": conf,
        "authentication-kubeconfig": conf,
        "authorization-kubeconfig": conf,
        "bind-address": "127.0.0.1",
        "client-ca-file": f"{pki}/ca.crt",
        "cluster-signing-cert-file": f"{pki}/ca.crt",
        "cluster-signing-key-file": f"{pki}/ca.key",
        "controllers": "*,bootstrapsigner,tokencleaner",
        "allocate-node-cidrs": "false",
        "cluster-cidr": POD_CIDR,
        "root-ca-file": f"{pki}/ca.crt",
        "service-account-private-key-file": f"{pki}/sa.key",
        "service-cluster-ip-range": SERVICE_CIDR,
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "node-monitor-grace-period": "120s",
    })  # fmt: skip


def scheduler_flags(*, directory: Path) -> list[str]:
    """Flags of kube-scheduler."""
    conf = f"{directory}/scheduler.conf"
    return _words({
        "kubeconfig": conf,
        "authentication-kubeconfig": conf,
        "authorization-kubeconfig": conf,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
    })  # fmt: skip


def kubelet_config(version: Version) -> str:
    """KubeletConfiguration as YAML."""
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        # with cgroups per pod it walks all of them each two seconds, which takes a third of an
        # emulated machine; without, only this driver can start a pod
        "cgroupsPerQOS": False,
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": [],
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "20Mi", "nodefs.available": "1%", "imagefs.available": "1%",
        },
        "nodeStatusUpdateFrequency": "10s",
        # an emulated machine takes its time
        "runtimeRequestTimeout": "5m",
        "resolvConf": "/etc/resolv.conf",
    }  # fmt: skip
    if version.at_least(27):
        config["containerRuntimeEndpoint"] = CRI_SOCKET
    return yaml.safe_dump(config, sort_keys=False)


def kubelet_unit(version: Version) -> str:
    """The systemd unit of the kubelet; it waits for its kubeconfig, which the seed brings."""
    flags = {
        "config": "/var/lib/kubelet/config.yaml",
        "kubeconfig": "/etc/kubernetes/kubelet.conf",
        "housekeeping-interval": "60s",
    }
    if not version.at_least(27):
        flags |= {
            "container-runtime-endpoint": CRI_SOCKET,
            "pod-infra-container-image": f"{IMAGE_REPOSITORY}/pause:lab",
        }
    if not version.at_least(24):
        flags["container-runtime"] = "remote"
    words = " ".join(_words(flags))
    return (
        "[Unit]\nAfter=containerd.service network.target\nWants=containerd.service\n"
        "ConditionPathExists=/etc/kubernetes/kubelet.conf\n\n"
        "[Service]\nEnvironmentFile=/etc/default/kubelet\n"
        f"ExecStart=/usr/local/bin/kubelet {words} $KUBELET_EXTRA_ARGS\n"
        "Restart=always\nRestartSec=3\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def kubelet_defaults(node: Node) -> str:
    """The environment file of the kubelet unit."""
    return f"KUBELET_EXTRA_ARGS=--node-ip={node.address} --hostname-override={node.name}\n"


def cni_conflist(node: Node) -> str:
    """The CNI configuration of one node: a bridge, addresses from the node's pod CIDR."""
    return f"""{{
  "cniVersion": "0.3.1",
  "name": "lab",
  "plugins": [
    {{
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
      "mtu": 1500,
      "ipam": {{
        "type": "host-local",
        "ranges": [[{{"subnet": "{node.pod_cidr}"}}]],
        "routes": [{{"dst": "0.0.0.0/0"}}]
      }}
    }},
    {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
  ]
}}
"""


def _words(flags: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]
