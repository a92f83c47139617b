"""Which kube-proxy it is: kubeadm's, one per node pool, or one that is changed elsewhere."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.fake.world import PROXY

from underlay.errors import ClusterError
from underlay.features.kube_proxy import units


def workload(name: str, config_map: str, **changes: Any) -> dict[str, Any]:
    found = copy.deepcopy(PROXY)
    found["kind"] = "DaemonSet"
    found["metadata"]["name"] = name
    spec = found["spec"]["template"]["spec"]
    spec["volumes"][0]["configMap"] = {"name": config_map, **changes}
    return found


def pod(name: str, node: str, owner: str) -> dict[str, Any]:
    owners = [{"kind": "DaemonSet", "name": owner}]
    return {"metadata": {"name": name, "ownerReferences": owners}, "spec": {"nodeName": node}}


def config_map(name: str) -> dict[str, Any]:
    marks = {units.MIGRATING: "ipvs"} if name == "b" else {}
    return {
        "metadata": {"name": name, "annotations": marks},
        "data": {"config.conf": f"mode: {name}\n", "other": "x"},
    }


def test_a_unit_per_pool_with_its_own_configuration_and_nodes() -> None:
    pods = [pod("p1", "n1", "proxy-a"), pod("p2", "n2", "proxy-b"), pod("q", "n1", "other")]
    found = units.find([workload("proxy-a", "a"), workload("proxy-b", "b")], pods, config_map)
    assert [(u.daemon_set, u.config_map, u.config, u.migrating) for u in found] == [
        ("proxy-a", "a", "mode: a\n", ""), ("proxy-b", "b", "mode: b\n", "ipvs"),
    ]  # fmt: skip
    assert [dict(u.pods) for u in found] == [{"n1": "p1"}, {"n2": "p2"}]


@pytest.mark.parametrize(("runs", "told"), [("proxy:1", True), ("proxy:2", False), ("", False)])
def test_a_pod_that_would_take_another_image_with_its_restart_is_told(
    runs: str, told: bool
) -> None:
    changed = workload("p", "a")
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "proxy:2"
    old = pod("p1", "n1", "p")
    if runs:
        old["spec"]["containers"] = [{"name": "side", "image": "x"}]
        old["spec"]["containers"] += [{"name": "kube-proxy", "image": runs}]
    (unit,) = units.find([changed], [old], config_map)
    found = units.other_image(unit, "n1")
    assert [f.id for f in found] == (["rollout"] if told else [])
    assert not told or "runs image proxy:1 while DaemonSet p names proxy:2" in found[0].sentence
    assert units.other_image(unit, "n2") == []


def test_a_key_with_another_path_is_followed() -> None:
    items = [{"key": "other", "path": "config.conf"}]
    assert units.find([workload("p", "a", items=items)], [], config_map)[0].config == "x"


def test_a_config_map_without_the_file_is_an_error() -> None:
    items = [{"key": "gone", "path": "config.conf"}]
    with pytest.raises(ClusterError, match="has no gone, which DaemonSet p reads"):
        units.find([workload("p", "a", items=items)], [], config_map)


def test_a_proxy_by_flags_is_an_error() -> None:
    found = workload("p", "a")
    container = found["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["kube-proxy", "--proxy-mode=ipvs"]
    with pytest.raises(ClusterError, match="is not in a ConfigMap"):
        units.find([found], [], config_map)


@pytest.mark.parametrize(
    ("workloads", "pods", "kubelets", "words"),
    [
        ([], [], ["v1.33.1+k3s1"], "this is k3s"),
        ([], [], ["v1.33.1+rke2r1"], "this is RKE2"),
        ([], [pod("kube-proxy-n1", "n1", "")], ["v1.33.1"], "it is a static pod"),
        ([{"metadata": {"name": "cilium"}}], [], ["v1.33.1"], "Cilium replaces it"),
        ([], [], ["v1.33.1"], "it may be a systemd unit"),
    ],
)
def test_others_are_told_where_to_change_them(
    workloads: list[dict[str, Any]], pods: list[dict[str, Any]], kubelets: list[str], words: str
) -> None:
    assert words in units.instead(workloads, pods, kubelets)
