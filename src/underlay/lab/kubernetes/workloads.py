"""Objects of every lab cluster besides kube-proxy: nodes, the echo workload, its Services. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from underlay.lab.kubernetes.config import IMAGE_REPOSITORY, Node

IMAGE = f"{IMAGE_REPOSITORY}/node:lab"
NODE_PORT = 30080

#: name of a Service -> what it is there to show
SERVICES = (
    "echo", "echo-node-port", "echo-sticky", "echo-external", "echo-single", "no-endpoints",
)  # fmt: skip

#: An address of nobody, which kube-proxy serves as an externalIP (RFC 5737).
EXTERNAL_IP = "198.51.100.80"


def nodes(found: Iterable[Node]) -> list[dict[str, Any]]:
    """Node objects made before the kubelets register, so that each keeps its pod CIDR and role.

    A kubelet that finds its node expects the capacity that one of its own would have.
    """
    capacity = {"cpu": "1", "memory": "900Mi", "pods": "110"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name, "labels": _labels(node)},
            "spec": {"podCIDR": node.pod_cidr, "podCIDRs": [node.pod_cidr]},
            "status": {"capacity": capacity, "allocatable": capacity},
        }
        for node in found
    ]


def admin_binding() -> dict[str, Any]:
    """The binding that gives admin.conf its rights since 1.29; `kubeadm init` makes the same."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kubeadm:cluster-admins"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
        },
        "subjects": [
            {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                "name": "kubeadm:cluster-admins",
            }
        ],
    }  # fmt: skip


def echo(last: str) -> list[dict[str, Any]]:
    """The echo DaemonSet and one Service of each kind that a mode change can break.

    last: the node of the single pod that reaches itself through its own Service.
    """
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
        {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"},
    ]
    node_port = {**ports[0], "nodePort": NODE_PORT}
    return [
        _daemon_set(),
        _single(last),
        _service("echo-single", {"selector": {"app": "echo-single"}, "ports": ports}),
        _service(
            "echo-external",
            {"selector": {"app": "echo"}, "ports": ports[:1], "externalIPs": [EXTERNAL_IP]},
        ),
        _service("echo", {"selector": {"app": "echo"}, "ports": ports}),
        _service(
            "echo-node-port",
            {"type": "NodePort", "selector": {"app": "echo"}, "ports": [node_port]},
        ),
        _service(
            "echo-sticky",
            {"selector": {"app": "echo"}, "ports": ports[:1], "sessionAffinity": "ClientIP"},
        ),
        _service("no-endpoints", {"selector": {"app": "nobody"}, "ports": ports[:1]}),
    ]


def _labels(node: Node) -> dict[str, str]:
    role = {"node-role.kubernetes.io/control-plane": ""} if node.control_plane else {}
    return {"kubernetes.io/hostname": node.name, **role}


def _service(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _daemon_set() -> dict[str, Any]:
    labels = {"app": "echo"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "echo", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _pod_spec()},
        },
    }


def _single(node: str) -> dict[str, Any]:
    labels = {"app": "echo-single"}
    spec = {**_pod_spec(), "nodeSelector": {"kubernetes.io/hostname": node}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "echo-single", "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _pod_spec() -> dict[str, Any]:
    name_of_node = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    container = {
        "name": "echo",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/usr/local/bin/echo.py"],
        "env": [name_of_node],
        "ports": [{"containerPort": 8080}],
    }
    return {
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
