"""Checks of what runs in the cluster: CNI files, kube-proxy, the backup, monitoring."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from underlay.checks.model import Check, Finding, Phase, Severity, Status
from underlay.features.preflight.changes import CNI, KUBE_PROXY
from underlay.features.preflight.scene import Backup, Scene
from underlay.features.preflight.words import listed

BEFORE = frozenset({Phase.PREFLIGHT})
#: What two computers may differ by without a clock that is wrong.
AHEAD = timedelta(hours=1)


def _one_cni(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        if len(node.cni) > 1:
            names = sorted(path.rpartition("/")[2] for path in node.cni)
            text = f"{host.name}: {listed(names)} in /etc/cni/net.d, {names[0]} wins"
            yield Finding(Status.FAIL, text, (host.name,))


def _one_mode(scene: Scene) -> Iterator[Finding]:
    modes: dict[str, list[str]] = {}
    for host, node in scene.read():
        if node.proxy_mode:
            modes.setdefault(node.proxy_mode, []).append(host.name)
    if len(modes) > 1:
        told = "; ".join(f"{mode} on {listed(names)}" for mode, names in sorted(modes.items()))
        rare = min(modes.values(), key=len)
        yield Finding(Status.FAIL, f"kube-proxy runs in different modes: {told}", tuple(rare))
    before = scene.change.partition("->")[0]
    if "->" in scene.change and len(modes) == 1 and scene.change in KUBE_PROXY:
        mode = next(iter(modes))
        if mode != before:
            text = f"kube-proxy runs in mode {mode} on every node, the change starts from {before}"
            yield Finding(Status.FAIL, text)


def _mode_applies(scene: Scene) -> str:
    there = any(node.proxy_mode for _, node in scene.read())
    return "" if there else "kube-proxy answers on no node"


def _backup(scene: Scene) -> Iterator[Finding]:
    found, now = scene.backup, scene.now
    if found is None or found.taken is None:
        where = found.path if found else "the backup folder"
        yield Finding(Status.FAIL, f"{where}: no backup of the CNI's configuration")
        return
    for problem in found.problems:
        yield Finding(Status.FAIL, f"{found.path}: {problem}")
    missing = tuple(host.name for host in scene if host.name not in found.hosts)
    if missing:
        yield Finding(Status.FAIL, f"{found.path}: holds nothing of {listed(missing)}", missing)
    if scene.cluster is not None and not scene.cluster.error and not found.objects:
        yield Finding(Status.FAIL, f"{found.path}: holds no object of the cluster")
    if now is not None:
        yield from _age(found, now - found.taken, next(iter(scene)).preflight.backup_days)


def _age(found: Backup, age: timedelta, limit: int) -> Iterator[Finding]:
    """A backup of the future was taken, or is looked at, by a clock that was wrong."""
    if age.days >= limit:
        yield Finding(Status.WARN, f"{found.path}: {age.days} days old, the limit is {limit}")
    elif age < -AHEAD:
        hours = -age / timedelta(hours=1)
        text = (
            f"{found.path}: of {hours:.0f} h after now, so its age is not known; set this"
            " computer's clock, or take a new backup"
        )
        yield Finding(Status.WARN, text)


def _backup_applies(scene: Scene) -> str:
    if any(node.cni or node.flannel for _, node in scene.read()):
        return ""
    return "no node has a CNI's configuration yet"


#: What watches a cluster -> a part of its name among definitions and workloads.
WATCHERS = {
    "the Prometheus operator's CRDs": "monitoring.coreos.com",
    "node-exporter": "node-exporter",
    "kube-state-metrics": "kube-state-metrics",
}


def _monitoring(scene: Scene) -> Iterator[Finding]:
    view = scene.cluster
    if view is None or view.error:
        said = view.error if view else "no node runs a kubelet"
        yield Finding(Status.UNKNOWN, f"the cluster could not be asked: {said}")
        return
    missing = [what for what, part in WATCHERS.items() if not any(part in n for n in view.names)]
    if scene.network.cni == "calico":
        silent = tuple(host.name for host, node in scene.read() if node.kubelet and not node.felix)
        if silent:
            missing.append(f"metrics of Calico's Felix on {listed(silent)}")
    if missing:
        yield Finding(Status.WARN, f"not found in the cluster: {listed(missing, 8)}")
    if view.coredns != "read":
        yield Finding(Status.WARN, f"metrics of CoreDNS were not read: {view.coredns}")


def _monitoring_applies(scene: Scene) -> str:
    if not next(iter(scene)).preflight.monitoring:
        return "preflight.monitoring is off"
    if any(node.kubelet for _, node in scene.read()):
        return ""
    return "no node runs a kubelet yet"


CHECKS = (
    Check(
        "cni/one-configuration", "One CNI configuration per node", Severity.STRICT,
        "The runtime takes the first file by name: pods of one node land in another CNI.",
        "remove the file that is not the cluster's CNI", _one_cni, scopes=CNI,
    ),
    Check(
        "cni/backup", "A restorable backup of the CNI's configuration exists", Severity.ERROR,
        "After a failed change this is the way back.",
        "underlay backup INVENTORY", _backup, _backup_applies, phases=BEFORE, scopes=CNI,
    ),
    Check(
        "kube-proxy/one-mode", "kube-proxy runs in one mode on all nodes", Severity.STRICT,
        "A Service then behaves differently from node to node; an earlier migration broke off.",
        "finish or roll back the migration: deploys/ipvs_migrate.py or deploys/ipvs_rollback.py",
        _one_mode, _mode_applies, scopes=KUBE_PROXY,
    ),
    Check(
        "monitoring/present", "Somebody watches the cluster", Severity.WARNING,
        "A slow fault after the change is seen only by monitoring.",
        "install Prometheus with node-exporter and kube-state-metrics, or set"
        " preflight.monitoring to False", _monitoring, _monitoring_applies, phases=BEFORE,
    ),
)  # fmt: skip
