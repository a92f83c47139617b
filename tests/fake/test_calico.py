"""Calico on a cluster in memory: order, sums, guards, a failure at every write, the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.calico_cluster import (
    CANAL,
    CRDS,
    DEFINITIONS,
    NAMES,
    OPERATOR,
    Calico,
    workload,
)
from tests.fake.world import Clock

from underlay.errors import ClusterError, ManifestError
from underlay.features.calico import deploy
from underlay.operations import cluster_objects


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calico:
    """Two nodes and no CNI."""
    found = Calico(folder=tmp_path)
    found.ready = {"files": ["10-calico.conflist"]}
    found.file("operator-crds.yaml", DEFINITIONS)
    found.file("tigera-operator.yaml", OPERATOR)
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: found.answer(self.host.name, text)
    )
    monkeypatch.setattr(deploy, "api_of", lambda state, settings: found.cluster)
    monkeypatch.setattr(cluster_objects, "time", Clock())
    monkeypatch.chdir(tmp_path)
    return found


TUNED = {"felix": {"iptablesRefreshInterval": "60s"}, "metrics": True}


def test_definitions_then_operator_then_installation_then_felix_then_nothing(world: Calico) -> None:
    assert world.install(TUNED).failed == set()
    assert world.cluster.writes == [
        *(f"apply CustomResourceDefinition {name}" for name in CRDS),
        "apply Namespace tigera-operator",
        "apply Deployment tigera-operator",
        "apply Installation default",
        "apply APIServer default",
        "apply FelixConfiguration default",
        "apply Service felix-metrics",
    ]
    assert world.installation["mtu"] == 1450
    assert world.installation["ipPools"][0]["encapsulation"] == "VXLAN"
    world.cluster.calls.clear()
    again = world.install(TUNED)
    assert (again.failed, again.operations, world.cluster.writes) == (set(), 0, [])


def test_safe_changes_are_made(world: Calico) -> None:
    assert world.install().failed == set()
    world.cluster.calls.clear()
    pools = {"default-ipv4-ippool": {"cidr": "10.244.0.0/16", "nat_outgoing": False}}
    assert world.install({"pools": pools}, mtu=1400).failed == set()
    assert world.cluster.writes == ["apply Installation default"]
    assert world.installation["mtu"] == 1350
    assert world.installation["ipPools"][0]["natOutgoing"] == "Disabled"


@pytest.mark.parametrize(
    ("calico", "network", "sentence"),
    [
        ({}, {"pod_cidr": "10.244.0.0/17"}, "a pool's CIDR is never changed; supported way"),
        ({}, {"encapsulation": "vxlan-cross-subnet"}, "encapsulation is vxlan and would become"),
        ({"pools": {"default-ipv4-ippool": {"cidr": "10.244.0.0/16", "block_size": 24}}}, {},
         "blockSize is 26 and would become 24"),
        ({"pools": {"other": {"cidr": "10.244.0.0/16"}}}, {}, "is called 'other' in calico.pools"),
        ({}, {"bgp": True}, "bgp is Disabled and would become Enabled"),
        ({"dataplane": "nftables"}, {}, "linuxDataplane is Iptables and would become Nftables"),
        ({"version": "v3.31.7"}, {}, "Calico does not go back"),
        ({"install": "manifest", "version": "v3.32.1", "sums": {}}, {}, "by the operator"),
    ],
)  # fmt: skip
def test_what_calico_cannot_change_is_refused(
    world: Calico, calico: dict[str, Any], network: dict[str, Any], sentence: str
) -> None:
    assert world.install().failed == set()
    before = world.cluster.state()
    with pytest.raises(ClusterError) as error:
        world.install(calico, **network)
    assert sentence in str(error.value)
    assert world.cluster.state() == before


def test_a_wrong_sum_is_refused_before_anything(world: Calico) -> None:
    (world.folder / "tigera-operator.yaml").write_text("kind: Other\n")
    with pytest.raises(ManifestError, match="do not use it"):
        world.install()
    assert world.cluster.writes == []


def test_flannel_is_not_replaced(world: Calico) -> None:
    world.cluster.put(workload("DaemonSet", "kube-flannel-ds", "kube-flannel", "flannel:v1.0.0"))
    with pytest.raises(ClusterError, match="migration controller"):
        world.install()


def test_kube_proxy_in_nftables_needs_calico_in_nftables(world: Calico) -> None:
    proxy = {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "data": {"config.conf": "mode: nftables\n"},
    }  # fmt: skip
    world.cluster.put(proxy)
    with pytest.raises(ClusterError, match="kube-proxy's mode is nftables"):
        world.install({"dataplane": "iptables"})
    # not said: it follows kube-proxy
    assert world.install().failed == set()
    assert world.installation["linuxDataplane"] == "Nftables"


@pytest.mark.parametrize(
    "readings",
    [
        {"files": ["10-flannel.conflist"]},
        {"files": ["05-first.conf"]},
        {"devices": ['[{"ifname": "flannel.1", "mtu": 1450}]']},
    ],
)
def test_one_node_with_another_cni_stops_everything(
    world: Calico, readings: dict[str, list[str]]
) -> None:
    world.readings["@fake/w1"] = readings
    assert world.install().failed == set(NAMES)
    assert world.cluster.writes == []


@pytest.mark.parametrize("number", range(8))
def test_a_failure_at_any_write_takes_everything_back(world: Calico, number: int) -> None:
    before = world.cluster.state()
    seen: list[str] = []

    def refuse(call: str) -> bool:
        if call.startswith("apply"):
            seen.append(call)
        return call.startswith("apply") and len(seen) == number + 1

    world.cluster.refuse = refuse
    assert world.install(TUNED).failed == set(NAMES)
    assert {k: v for k, v in world.cluster.state().items() if k[2] != "calico-system"} == before
    world.cluster.refuse = lambda call: False
    assert world.install(TUNED).failed == set()


def test_pods_that_do_not_come_up_take_a_change_back(world: Calico) -> None:
    assert world.install().failed == set()
    before = world.installation["mtu"]
    world.cluster.ready = lambda found: world.installation["mtu"] == before
    assert world.install(mtu=1400).failed == set(NAMES)
    assert world.installation["mtu"] == before


def test_images_come_from_a_mirror(world: Calico) -> None:
    assert world.install({"registry": "mirror.example/calico"}).failed == set()
    found = world.cluster.objects["Deployment", "tigera-operator", "tigera-operator"]
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == (
        "mirror.example/calico/tigera/operator:v1.42.3"
    )
    spec = world.cluster.objects["Installation", "", "default"]["spec"]
    assert spec["registry"] == "mirror.example/calico/"


# -- canal


@pytest.fixture
def canal(world: Calico) -> Calico:
    """Two nodes with a block each, and a manifest shaped as upstream's."""
    world.file("canal.yaml", CANAL)
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    )
    world.ready["files"] = ["10-canal.conflist"]
    for number, name in enumerate(NAMES):
        node = {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "spec": {"podCIDR": f"10.244.{number}.0/24"},
        }  # fmt: skip
        world.cluster.put(node)
    return world


def test_canal_then_nothing_then_a_new_mtu_on_the_device_too(canal: Calico) -> None:
    words = {"install": "canal", "metrics": True}
    assert canal.install(words, cni="flannel").failed == set()
    assert canal.cluster.writes == [
        "apply ConfigMap canal-config",
        "apply DaemonSet canal",
        "apply Deployment calico-kube-controllers",
        "apply FelixConfiguration default",
        "apply Service felix-metrics",
    ]
    service = canal.cluster.objects["Service", "kube-system", "felix-metrics"]
    assert service["spec"]["selector"] == {"k8s-app": "canal"}
    canal.cluster.calls.clear()
    again = canal.install(words, cni="flannel")
    assert (again.failed, again.operations, canal.cluster.writes) == (set(), 0, [])
    canal.ready["devices"] = [
        json.dumps([{"ifname": "flannel.1", "mtu": 1450, "txqlen": 1000, "addr_info": []}])
    ]
    assert canal.install(words, cni="flannel", mtu=1400).failed == set()
    assert canal.cluster.writes == ["apply ConfigMap canal-config", "apply DaemonSet canal"]
    assert all("ip link set dev flannel.1 mtu 1350" in canal.changed[name] for name in NAMES)


def test_what_flannel_cannot_change_canal_cannot(canal: Calico) -> None:
    words = {"install": "canal"}
    assert canal.install(words, cni="flannel").failed == set()
    with pytest.raises(ClusterError, match=r"kube-system/canal-config: Network is '10\.244"):
        canal.install(words, cni="flannel", pod_cidr="10.244.0.0/17")
    canal.cluster.objects["Node", "", NAMES[1]]["spec"] = {}
    with pytest.raises(ClusterError, match=f"node {NAMES[1]} has no block"):
        canal.install(words, cni="flannel")
