"""Calico on a cluster in memory: order, sums, guards, a failure at every write, the way back."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.calico_cluster import (
    CANAL,
    CRDS,
    DEFINITIONS,
    MANIFEST,
    NAMES,
    OPERATOR,
    TYPHA,
    Calico,
    workload,
)

from underlay.errors import ClusterError, ManifestError, MissingError
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
    monkeypatch.setattr(cluster_objects, "time", found.clock)
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
        ({"dataplane": "nftables", "version": "v3.31.7"}, {}, "linuxDataplane is Iptables and"),
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


def test_calico_goes_to_nftables_before_kube_proxy_and_back_after_it(world: Calico) -> None:
    key = ("ConfigMap", "kube-system", "kube-proxy")
    proxy = {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "data": {"config.conf": "mode: iptables\n"},
    }  # fmt: skip
    world.cluster.put(proxy)
    assert world.install().failed == set()
    assert world.installation["linuxDataplane"] == "Iptables"
    assert world.install({"dataplane": "nftables"}).failed == set()
    assert world.installation["linuxDataplane"] == "Nftables"
    # kube-proxy goes there, and back
    world.cluster.objects[key]["data"]["config.conf"] = "mode: nftables\n"
    assert world.install().operations == 0
    with pytest.raises(ClusterError, match="kube-proxy's mode is nftables"):
        world.install({"dataplane": "iptables"})
    world.cluster.objects[key]["data"]["config.conf"] = "mode: iptables\n"
    assert world.install().failed == set()
    assert world.installation["linuxDataplane"] == "Iptables"


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


NO_NAT = {"pools": {"default-ipv4-ippool": {"cidr": "10.244.0.0/16", "nat_outgoing": False}}}


def test_an_operator_that_does_not_take_a_change_up_is_not_believed(
    world: Calico, caplog: pytest.LogCaptureFixture
) -> None:
    assert world.install().failed == set()
    world.cluster.blind = True
    # the pods of before run on and look ready
    assert world.install(mtu=1400).failed == set(NAMES)
    assert world.installation["mtu"] == 1450
    text = caplog.text
    assert "has not taken the change up: it has seen 1 of 2 generations" in text
    assert "every object is as it was before, but its pods are not" in text


def test_an_operator_that_is_degraded_takes_a_change_back_and_is_quoted(
    world: Calico, caplog: pytest.LogCaptureFixture
) -> None:
    assert world.install().failed == set()
    found = world.cluster

    def ready(_: object) -> bool:
        found.degraded = "no image" if world.installation["mtu"] == 1350 else ""
        return True

    found.ready = ready
    assert world.install(mtu=1400).failed == set(NAMES)
    assert world.installation["mtu"] == 1450
    text = caplog.text
    assert "(TigeraStatus calico) is Degraded: PodFailure: no image; everything is as it" in text


def test_a_pool_that_the_operator_leaves_as_it_is_is_no_success(world: Calico) -> None:
    assert world.install().failed == set()
    world.cluster.lazy = True
    assert world.install(NO_NAT).failed == set(NAMES)
    assert world.installation["ipPools"][0]["natOutgoing"] == "Enabled"
    world.cluster.lazy = False
    assert world.install(NO_NAT).failed == set()


@pytest.mark.parametrize(("after_s", "failed"), [(40.0, set(NAMES)), (1000.0, set())])
def test_felix_that_fails_a_while_after_its_change_takes_it_back(
    world: Calico, after_s: float, failed: set[str]
) -> None:
    assert world.install().failed == set()
    key = ("FelixConfiguration", "", "default")
    began: list[float] = []

    def ready(found: dict[str, Any]) -> bool:
        """No pod is made anew; they only stop to be ready."""
        if key not in world.cluster.objects:
            return True
        began.append(world.clock.now)
        return world.clock.now - began[0] < after_s

    world.cluster.ready = ready
    assert world.install({"felix": {"netlinkTimeout": "1s"}}).failed == failed
    assert (key in world.cluster.objects) is not bool(failed)


def test_nobody_waits_and_felix_is_applied_when_it_is_served(
    world: Calico, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = False
    apply = world.cluster.apply

    def only_served(found: dict[str, Any], **options: Any) -> dict[str, Any]:
        if found["kind"] == "FelixConfiguration" and not served:
            raise MissingError("FelixConfiguration: not served")
        return apply(found, **options)

    monkeypatch.setattr(world.cluster, "apply", only_served)
    world.cluster.ready = lambda found: False
    words = {"wait_s": 0, "felix": {"netlinkTimeout": "1s"}}
    assert world.install(words).failed == set()
    assert "FelixConfiguration default: left out, because calico" in caplog.text
    served = True
    assert world.install(words).failed == set()
    assert ("FelixConfiguration", "", "default") in world.cluster.objects
    assert world.install(words).operations == 0


def test_images_come_from_a_mirror(world: Calico) -> None:
    assert world.install({"registry": "mirror.example/calico"}).failed == set()
    found = world.cluster.objects["Deployment", "tigera-operator", "tigera-operator"]
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == (
        "mirror.example/calico/tigera/operator:v1.42.3"
    )
    spec = world.cluster.objects["Installation", "", "default"]["spec"]
    assert spec["registry"] == "mirror.example/calico/"


# -- the plain manifest


def test_a_manifest_then_nothing_then_bgp_is_refused_and_so_is_the_operator(world: Calico) -> None:
    world.file("calico.yaml", MANIFEST)
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    )
    words = {"install": "manifest"}
    assert world.install(words).failed == set()
    assert world.install(words).operations == 0
    before = world.cluster.state()
    with pytest.raises(ClusterError, match="calico_backend is vxlan and would become bird"):
        world.install(words, bgp=True)
    with pytest.raises(ClusterError, match="from a plain manifest; set"):
        world.install()
    assert world.cluster.state() == before


def test_an_installation_without_pods_yet_is_not_overrun_by_a_manifest(world: Calico) -> None:
    world.file("calico.yaml", MANIFEST)
    found = {"apiVersion": "operator.tigera.io/v1", "kind": "Installation"}
    world.cluster.put({**found, "metadata": {"name": "default"}, "spec": {}})
    with pytest.raises(ClusterError, match="an Installation is there: Calico's operator"):
        world.install({"install": "manifest"})
    assert world.cluster.writes == []


# -- Typha of a plain manifest

WITH_TYPHA = {"install": "manifest", "typha_from": 2}
WITHOUT_TYPHA = {"install": "manifest", "typha_from": 3}
GONE = [f"delete {kind} calico-typha" for kind in ("PodDisruptionBudget", "Deployment", "Service")]


@pytest.fixture
def served(world: Calico) -> Calico:
    """Two nodes, and a Calico that has Typha because there are so many."""
    served = copy.deepcopy(MANIFEST)
    served[0]["data"]["typha_service_name"] = "calico-typha"
    world.file("calico.yaml", MANIFEST)
    world.file("calico-typha.yaml", [*served, *TYPHA])
    kube_system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    world.cluster.put(kube_system)
    assert world.install(WITH_TYPHA).failed == set()
    assert len(_typha(world)) == 3
    world.cluster.calls.clear()
    return world


def _typha(world: Calico) -> list[str]:
    return [kind for kind, _, name in world.cluster.objects if name == "calico-typha"]


def _asked_for(world: Calico) -> str:
    """The Typha that calico-node is configured to use."""
    found = world.cluster.objects["ConfigMap", "kube-system", "calico-config"]
    return str(found["data"]["typha_service_name"])


def test_typha_goes_when_calico_node_has_run_without_it(
    served: Calico, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, "pyinfra")
    began = served.clock.now
    seen: list[tuple[str, float]] = []

    def note(call: str) -> bool:
        seen.append((call, served.clock.now - began))
        return False

    served.cluster.refuse = note
    assert served.install(WITHOUT_TYPHA).failed == set()
    assert served.cluster.writes == ["apply ConfigMap calico-config", *GONE]
    assert min(at for call, at in seen if call in GONE) >= 70
    assert _typha(served) == []
    assert "when all else runs, remove Deployment kube-system/calico-typha" in caplog.text
    (objects,) = [
        [item["metadata"]["name"] for item in json.loads(path.read_text())["items"]]
        for path in tmp_path.glob("network-backup-calico-*Z*/objects.json")
        if "typha" in path.read_text()
    ]
    assert objects == ["calico-config", *["calico-typha"] * 3]
    assert served.install(WITHOUT_TYPHA).operations == 0


def test_typha_stays_when_calico_node_does_not_run_without_it(served: Calico) -> None:
    served.cluster.ready = lambda found: _asked_for(served) != "none"
    assert served.install(WITHOUT_TYPHA).failed == set(NAMES)
    assert (_asked_for(served), len(_typha(served))) == ("calico-typha", 3)


def test_typha_that_cannot_be_removed_takes_nothing_back_and_the_next_run_ends_it(
    served: Calico, caplog: pytest.LogCaptureFixture
) -> None:
    served.cluster.refuse = lambda call: call == GONE[1]
    assert served.install(WITHOUT_TYPHA).failed == set(NAMES)
    assert "not everything could be removed: Kubernetes API: refused" in caplog.text
    assert (_asked_for(served), sorted(_typha(served))) == ("none", ["Deployment", "Service"])
    served.cluster.refuse = lambda call: False
    served.cluster.calls.clear()
    assert served.install(WITHOUT_TYPHA).failed == set()
    assert served.cluster.writes == GONE[1:]


def test_typha_stays_while_nobody_waits_for_the_pods(
    served: Calico, caplog: pytest.LogCaptureFixture
) -> None:
    served.cluster.ready = lambda found: False
    assert served.install({**WITHOUT_TYPHA, "wait_s": 0}).failed == set()
    assert (_asked_for(served), len(_typha(served))) == ("none", 3)
    assert "nobody waits (wait_s is 0); run it again when its pods run" in caplog.text
    served.cluster.ready = lambda found: True
    assert served.install({**WITHOUT_TYPHA, "wait_s": 0}).failed == set()
    assert _typha(served) == []


def test_a_typha_of_somebody_else_is_told_and_left(
    served: Calico, caplog: pytest.LogCaptureFixture
) -> None:
    for key, owners in served.cluster.owners.items():
        if key[2] == "calico-typha":
            owners.update(dict.fromkeys(owners, "helm"))
    assert served.install(WITHOUT_TYPHA).failed == set()
    assert len(_typha(served)) == 3
    assert "Service kube-system/calico-typha of helm is not used any more" in caplog.text
    assert served.install({**WITHOUT_TYPHA, "take_over": ["helm"]}).failed == set()
    assert _typha(served) == []


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
