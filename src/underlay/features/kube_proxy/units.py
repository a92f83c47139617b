"""Which kube-proxy is it: the DaemonSets that run it, and what to do where there is none. Pure.

kubeadm has one DaemonSet and one ConfigMap; others have one of each per pool of nodes. Both are
units here: what is switched together, because one ConfigMap serves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from underlay.errors import ClusterError
from underlay.features.kube_proxy.finding import Finding

NAMESPACE = "kube-system"

#: Annotations of the ConfigMap: the mode that a migration under way leads to, and the configuration
#: as it was before. They change together with the configuration, so no crash can part them.
MIGRATING = "underlay.dev/migrating"
PREVIOUS = "underlay.dev/previous-config"

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Unit:
    """One DaemonSet of kube-proxy.

    config_map, key: where its configuration is; config: the text; migrating: the mode that a run
    which was cut short was leading to, "" if none was; previous: the configuration before the last
    migration, "" if there was none; pods: node to the name of its pod; images: node to the image of
    that pod, where it is not `image`, the one that the next pod will have.
    """

    daemon_set: str
    config_map: str
    key: str
    config: str
    migrating: str
    previous: str
    pods: Mapping[str, str]
    image: str = ""
    images: Mapping[str, str] = field(default_factory=dict)


def find(
    workloads: Iterable[Object], pods: Sequence[Object], config_map: Callable[[str], Object]
) -> tuple[Unit, ...]:
    """Every unit of the cluster.

    workloads, pods: of kube-system; config_map: gives one by name. ClusterError for a DaemonSet
    whose configuration is not in a ConfigMap.
    """
    found = []
    for workload in workloads:
        container = _container(workload)
        if workload["kind"] != "DaemonSet" or container is None:
            continue
        name = workload["metadata"]["name"]
        map_name, key = _source(name, workload, container)
        source = config_map(map_name)
        text = (source.get("data") or {}).get(key)
        if text is None:
            raise ClusterError(
                f"ConfigMap {NAMESPACE}/{map_name}: has no {key}, which DaemonSet {name} reads;"
                " write it as kubeadm does"
            )
        marks = source["metadata"].get("annotations") or {}
        mine = {
            pod["spec"]["nodeName"]: pod
            for pod in pods
            if pod["spec"].get("nodeName") and _owner(pod) == ("DaemonSet", name)
        }
        image = str(container.get("image", ""))
        found.append(
            Unit(
                name, map_name, key, text, marks.get(MIGRATING, ""), marks.get(PREVIOUS, ""),
                {node: pod["metadata"]["name"] for node, pod in mine.items()},
                image, dict(_other_images(mine, str(container["name"]), image)),
            )
        )  # fmt: skip
    return tuple(found)


def other_image(unit: Unit, node: str) -> list[Finding]:
    """A pod of an older image takes the new one with its restart, which a rollback cannot undo."""
    if node not in unit.images:
        return []
    sentence = (
        f"its kube-proxy runs image {unit.images[node]} while DaemonSet {unit.daemon_set} names"
        f" {unit.image}, so a restart would change more than the mode; finish that rollout first"
    )
    return [Finding("rollout", sentence)]


def instead(workloads: Iterable[Object], pods: Iterable[Object], kubelets: Iterable[str]) -> str:
    """The sentence for a cluster whose kube-proxy is not run by a DaemonSet.

    kubelets: the version that each node reports; k3s and RKE2 put their name into it.
    """
    do = _instead(list(workloads), list(pods), " ".join(kubelets))
    return (
        f"kube-proxy: no DaemonSet in {NAMESPACE} runs it with a configuration file; {do}; this"
        " deploy migrates kubeadm's kube-proxy and those of node pools only"
    )


def _instead(workloads: list[Object], pods: list[Object], kubelets: str) -> str:
    if "+k3s" in kubelets:
        return (
            "this is k3s, which has it built in: set `kube-proxy-arg: [proxy-mode=...]` in"
            " /etc/rancher/k3s/config.yaml and restart k3s node by node"
        )
    if "+rke2" in kubelets:
        return (
            "this is RKE2, which writes a static pod: set `kube-proxy-arg: [proxy-mode=...]` in"
            " /etc/rancher/rke2/config.yaml and restart rke2 node by node"
        )
    if any(pod["metadata"]["name"].startswith("kube-proxy") for pod in pods):
        return (
            "it is a static pod: change the mode in /etc/kubernetes/manifests on each node, one"
            " after the other"
        )
    if any(w["metadata"]["name"] == "cilium" for w in workloads):
        return "Cilium replaces it (kube-proxy-replacement): there is no mode to change"
    return (
        "it may be a systemd unit: change `mode` in the file that its --config names and restart"
        " the unit on one node after the other"
    )


def _container(workload: Object) -> Object | None:
    """The container that runs kube-proxy."""
    for container in workload["spec"]["template"]["spec"].get("containers", []):
        words = [*container.get("command", []), *container.get("args", [])]
        if container.get("name") == "kube-proxy" or any(
            word.rpartition("/")[2] == "kube-proxy" for word in words
        ):
            return dict(container)
    return None


def _other_images(
    pods: Mapping[str, Object], container: str, image: str
) -> Iterator[tuple[str, str]]:
    """Node and image of the pods that run another image than the DaemonSet names by now."""
    for node, pod in pods.items():
        for entry in pod["spec"].get("containers", []):
            if entry["name"] == container and entry.get("image", image) != image:
                yield node, str(entry["image"])


def _source(name: str, workload: Object, container: Object) -> tuple[str, str]:
    """ConfigMap and key that `--config` comes from."""
    words = [*container.get("command", []), *container.get("args", [])]
    path = next((w.partition("=")[2] for w in words if w.startswith("--config=")), "")
    volumes = {v["name"]: v for v in workload["spec"]["template"]["spec"].get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        folder = mount["mountPath"].rstrip("/")
        source = volumes.get(mount["name"], {}).get("configMap")
        if source is None or not path.startswith(f"{folder}/"):
            continue
        file = path.removeprefix(f"{folder}/")
        keys = {item["path"]: item["key"] for item in source.get("items") or []}
        return source["name"], keys.get(file, file)
    raise ClusterError(
        f"DaemonSet {NAMESPACE}/{name}: its --config ({path or 'none'}) is not in a ConfigMap;"
        " configure it as kubeadm does, or change its mode by its own flags"
    )


def _owner(pod: Object) -> tuple[str, str]:
    owners = pod["metadata"].get("ownerReferences") or [{}]
    return owners[0].get("kind", ""), owners[0].get("name", "")
