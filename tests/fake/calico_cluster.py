"""A cluster with Calico's operator in memory, and a folder with manifests shaped as upstream's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.fake.cluster import Cluster
from tests.fake.cni_world import World
from tests.fake.world import Clock, Run, run_on

from underlay.features.calico import deploy

NAMES = ("@fake/cp1", "@fake/w1")
NETWORK: dict[str, Any] = {
    "cni": "calico", "pod_cidr": "10.244.0.0/16", "mtu": 1500, "encapsulation": "vxlan",
}  # fmt: skip
CRDS = ("installations.operator.tigera.io", "apiservers.operator.tigera.io")


def workload(kind: str, name: str, namespace: str, image: str) -> dict[str, Any]:
    pod = {"containers": [{"name": "main", "image": image}]}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"spec": pod}},
    }  # fmt: skip


OPERATOR = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tigera-operator"}},
    workload("Deployment", "tigera-operator", "tigera-operator", "quay.io/tigera/operator:v1.42.3"),
]
DEFINITIONS = [
    {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": name}, "spec": {"scope": "Cluster"}, "status": None,
    }
    for name in CRDS
]  # fmt: skip


@dataclass
class Operated(Cluster):
    """With Calico's operator: an Installation becomes calico-node and its pools.

    blind: it does nothing more; degraded: what it complains of; lazy: it leaves pools as they are;
    seen: the generation it has acted on.
    """

    blind: bool = False
    degraded: str = ""
    lazy: bool = False
    seen: int = 0

    def apply(self, found: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Apply, and act on it."""
        result = super().apply(found, **options)
        if found["kind"] == "Installation" and not options.get("dry_run"):
            self._operate()
        return result

    def replace(self, kind: Any, found: dict[str, Any]) -> dict[str, Any]:
        """Replace, and act on it."""
        result = super().replace(kind, found)
        if kind.name == "Installation":
            self._operate()
        return result

    def find(self, kind: Any, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """With what the operator says of itself."""
        of = self.objects.get(("Installation", "", "default"))
        if kind.name != "TigeraStatus":
            return super().find(kind, name, namespace)
        if of is None:
            return None
        states = {"Available": not self.degraded, "Degraded": bool(self.degraded)}
        seen = self.seen if name != "apiserver" else 1
        return {
            "status": {
                "conditions": [
                    {"type": kind, "status": str(on), "observedGeneration": seen,
                     "reason": "PodFailure", "message": self.degraded}
                    for kind, on in states.items()
                ]
            }
        }  # fmt: skip

    def _operate(self) -> None:
        """What the operator makes of the Installation."""
        found = self.objects["Installation", "", "default"]
        found["metadata"]["generation"] = found["metadata"].get("generation", 0) + 1
        if self.blind:
            return
        self.seen = found["metadata"]["generation"]
        self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "calico-system"}})
        for kind, name in (
            ("DaemonSet", "calico-node"),
            ("Deployment", "calico-kube-controllers"),
        ):
            self.put(workload(kind, name, "calico-system", "quay.io/calico/node:v3.32.1"))
        for pool in [] if self.lazy else found["spec"]["calicoNetwork"]["ipPools"]:
            spec = {
                "cidr": pool["cidr"], "blockSize": pool["blockSize"], "ipipMode": "Never",
                "vxlanMode": "Always", "natOutgoing": pool["natOutgoing"] == "Enabled",
            }  # fmt: skip
            self.put(
                {
                    "apiVersion": "projectcalico.org/v3", "kind": "IPPool",
                    "metadata": {"name": pool["name"]}, "spec": spec,
                }
            )  # fmt: skip

    def delete(
        self, kind: Any, name: str, namespace: str | None = None, *, uid: str = "",
        version: str = "",
    ) -> None:  # fmt: skip
        """What the operator made goes with the Installation."""
        super().delete(kind, name, namespace, uid=uid, version=version)
        if kind.name == "Installation":
            made = [k for k in self.objects if "calico" in k[1] + k[2] or k[0] == "IPPool"]
            for key in made:
                del self.objects[key]


@dataclass
class Calico(World):
    """Nodes, their cluster, and a folder with manifests."""

    folder: Path = Path()
    cluster: Operated = field(default_factory=Operated)
    sums: dict[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)

    def file(self, name: str, found: list[dict[str, Any]]) -> None:
        """Put a manifest into the folder, and pin its sum."""
        data = yaml.safe_dump_all(found).encode()
        (self.folder / name).write_bytes(data)
        self.sums[name] = hashlib.sha256(data).hexdigest()

    def install(self, calico: dict[str, Any] | None = None, **network: Any) -> Run:
        """Run the deploy."""
        section = {"manifests": str(self.folder), "sums": self.sums, **(calico or {})}
        data: dict[str, object] = {"calico": section, "network": {**NETWORK, **network}}
        return run_on(list(NAMES), deploy.install, data)

    @property
    def installation(self) -> dict[str, Any]:
        """The live one's calicoNetwork."""
        found = self.cluster.objects["Installation", "", "default"]
        network: dict[str, Any] = found["spec"]["calicoNetwork"]
        return network


CANAL = [
    {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "canal-config", "namespace": "kube-system"},
        "data": {"net-conf.json": "{}", "typha_service_name": "none"},
    },
    {
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "canal", "namespace": "kube-system"},
        "spec": {"template": {"metadata": {"labels": {"k8s-app": "canal"}}, "spec": {
            "containers": [
                {"name": "calico-node", "image": "quay.io/calico/node:v3.32.1", "env": []},
                {"name": "kube-flannel", "command": ["/opt/bin/flanneld", "--ip-masq"]},
            ],
        }}},
    },
    workload("Deployment", "calico-kube-controllers", "kube-system", "quay.io/calico/x:v3.32.1"),
]  # fmt: skip

#: What upstream's calico-typha.yaml has beside calico.yaml.
TYPHA = [
    {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "calico-typha", "namespace": "kube-system"},
        "spec": {"maxUnavailable": 1},
    },
    {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "calico-typha", "namespace": "kube-system"},
        "spec": {"ports": [{"port": 5473, "protocol": "TCP"}]},
    },
    workload("Deployment", "calico-typha", "kube-system", "quay.io/calico/typha:v3.32.1"),
]  # fmt: skip

MANIFEST = [
    {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "calico-config", "namespace": "kube-system"},
        "data": {
            "calico_backend": "bird", "veth_mtu": "0", "cni_network_config": "{}",
            "typha_service_name": "none",
        },
    },
    {
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "calico-node", "namespace": "kube-system"},
        "spec": {"template": {"metadata": {}, "spec": {"containers": [{
            "name": "calico-node", "image": "quay.io/calico/node:v3.32.1", "env": [],
            "livenessProbe": {"exec": {"command": ["calico-node", "-bird-live"]}},
            "readinessProbe": {"exec": {"command": ["calico-node", "-bird-ready"]}},
        }]}}},
    },
    workload("Deployment", "calico-kube-controllers", "kube-system", "quay.io/calico/x:v3.32.1"),
]  # fmt: skip
