"""flannel and Calico against a real API server: what it takes, owns, refuses and gives back.

The nodes are scripted and no controller runs (see api_server.py), so that nobody needs a virtual
machine to see what server-side apply really does.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.cni_world import World
from tests.fake.world import Run, run_on
from tests.lab.api_server import api_server
from tests.upstream import upstream

from underlay.cluster import Api
from underlay.cluster.objects import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    CRD,
    DAEMON_SET,
    DEPLOYMENT,
    INSTALLATION,
    IP_POOL,
    LEASE,
    NAMESPACE,
    NODE,
    SERVICE_ACCOUNT,
)
from underlay.errors import ClusterError, ManifestError
from underlay.features.calico import deploy as calico
from underlay.features.calico import manifests
from underlay.features.calico.guard import RULES_SINCE
from underlay.features.flannel import deploy as flannel

pytestmark = pytest.mark.lab

NAMES = ("@fake/cp1", "@fake/w1")
PODS = "10.244.0.0/16"
Install = Callable[..., Run]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server with two nodes."""
    with api_server(tmp_path_factory.mktemp("api")) as found:
        for number, name in enumerate(NAMES):
            node = name.replace("@fake/", "")
            spec = {"podCIDR": f"10.244.{number}.0/24", "podCIDRs": [f"10.244.{number}.0/24"]}
            meta = {"name": node}
            found.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec})
        yield found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: Api) -> World:
    """The nodes of these names."""
    found = World()
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: found.answer(self.host.name, text)
    )
    for module in (flannel, calico):
        monkeypatch.setattr(module, "api_of", lambda state, settings: api)
    monkeypatch.chdir(tmp_path)
    return found


def _run(deploy: Any, name: str, section: dict[str, Any], network: dict[str, Any]) -> Run:
    shared = {"cni": name, "pod_cidr": PODS, "mtu": 1500, **network}
    data: dict[str, object] = {name: section, "network": shared}
    own: dict[str, dict[str, object]] = {
        host: {"kube_proxy": {"node_name": host.removeprefix("@fake/")}} for host in NAMES
    }
    return run_on(list(NAMES), deploy.install, data, own)


def _finalize(api: Api, name: str) -> None:
    """What the namespace controller would do."""
    found = api.find(NAMESPACE, name)
    if found is not None:
        path = f"{NAMESPACE.path(name)}/finalize"
        found["spec"]["finalizers"] = []
        assert api.request("PUT", path, body=found)[0] == 200
    assert api.find(NAMESPACE, name) is None


@pytest.fixture
def install_flannel(world: World, api: Api) -> Iterator[Install]:
    """Run flannel's deploy; at the end nothing of it is left."""

    def run(section: dict[str, Any] | None = None, **network: Any) -> Run:
        return _run(flannel, "flannel", {"wait_s": 0, **(section or {})}, network)

    yield run
    for kind, name, place in (
        (DAEMON_SET, "kube-flannel-ds", "kube-flannel"),
        (CONFIG_MAP, "kube-flannel-cfg", "kube-flannel"),
        (SERVICE_ACCOUNT, "flannel", "kube-flannel"),
        (CLUSTER_ROLE, "flannel", None),
        (CLUSTER_ROLE_BINDING, "flannel", None),
        (NAMESPACE, "kube-flannel", None),
    ):
        api.delete(kind, name, place)
    _finalize(api, "kube-flannel")


def net_conf(api: Api) -> dict[str, Any]:
    """The live net-conf.json."""
    found = api.get(CONFIG_MAP, "kube-flannel-cfg", "kube-flannel")
    conf: dict[str, Any] = json.loads(found["data"]["net-conf.json"])
    return conf


def test_flannel_then_nothing_then_a_new_mtu(api: Api, install_flannel: Install) -> None:
    assert install_flannel().failed == set()
    assert net_conf(api)["Backend"] == {"Type": "vxlan", "VNI": 1, "Port": 8472, "MTU": 1500}
    found = api.get(DAEMON_SET, "kube-flannel-ds", "kube-flannel")
    assert {entry["manager"] for entry in found["metadata"]["managedFields"]} == {"underlay"}
    again = install_flannel()
    assert (again.failed, again.operations) == (set(), 0)
    assert install_flannel(mtu=1400).failed == set()
    assert net_conf(api)["Backend"]["MTU"] == 1400
    assert install_flannel(mtu=1400).operations == 0


def test_pods_that_do_not_come_up_take_flannel_back(
    api: Api, install_flannel: Install, tmp_path: Path
) -> None:
    assert install_flannel({"wait_s": 1}).failed == set(NAMES)
    assert api.find(CLUSTER_ROLE, "flannel") is None
    assert api.find(DAEMON_SET, "kube-flannel-ds", "kube-flannel") is None
    assert "deletionTimestamp" in api.get(NAMESPACE, "kube-flannel")["metadata"]
    assert api.find(LEASE, "underlay-cni", "kube-system") is None
    assert len(list(tmp_path.glob("network-backup-flannel-*/manifest.json"))) == 1
    _finalize(api, "kube-flannel")
    # what was there before comes back as it was
    assert install_flannel().failed == set()
    before = api.get(DAEMON_SET, "kube-flannel-ds", "kube-flannel")["spec"]
    assert install_flannel({"wait_s": 1}, mtu=1400).failed == set(NAMES)
    assert api.get(DAEMON_SET, "kube-flannel-ds", "kube-flannel")["spec"] == before
    assert net_conf(api)["Backend"]["MTU"] == 1500
    # and a rollback is no other manager
    assert install_flannel(mtu=1400).failed == set()
    assert net_conf(api)["Backend"]["MTU"] == 1400


def test_a_field_of_somebody_else_is_named_and_taken_when_told(
    api: Api, install_flannel: Install
) -> None:
    assert install_flannel().failed == set()
    changed = json.dumps({**net_conf(api), "EnableNFTables": True})
    status, text = api.request(
        "PATCH", CONFIG_MAP.path("kube-flannel-cfg", "kube-flannel"),
        query={"fieldManager": "somebody"}, body={"data": {"net-conf.json": changed}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert status == 200, text
    with pytest.raises(ClusterError, match=r"\.data\.net-conf\.json belongs to 'somebody'"):
        install_flannel()
    assert net_conf(api)["EnableNFTables"] is True
    assert install_flannel({"take_over": ["somebody"]}).failed == set()
    assert net_conf(api)["EnableNFTables"] is False


def test_a_backend_is_not_changed_under_pods(api: Api, install_flannel: Install) -> None:
    assert install_flannel().failed == set()
    with pytest.raises(ClusterError, match=r"Backend\.Type is 'vxlan' and would become 'ipip'"):
        install_flannel(encapsulation="ipip")
    assert net_conf(api)["Backend"]["Type"] == "vxlan"


def test_annotations_of_nodes_come_and_go_and_the_rest_of_a_node_stays(
    api: Api, install_flannel: Install
) -> None:
    before = api.get(NODE, "w1")
    assert install_flannel({"public_ips": {"@fake/w1": "203.0.113.7"}}).failed == set()
    found = api.get(NODE, "w1")
    key = "flannel.alpha.coreos.com/public-ip-overwrite"
    assert found["metadata"]["annotations"][key] == "203.0.113.7"
    assert found["spec"] == before["spec"]
    # it outlives flannel, and goes with a run that does not name it
    assert install_flannel().failed == set()
    found = api.get(NODE, "w1")
    assert key not in (found["metadata"].get("annotations") or {})
    assert found["spec"] == before["spec"]
    assert install_flannel().operations == 0
    # somebody else's is not ours to take
    node: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1"}}
    node["metadata"]["annotations"] = {key: "203.0.113.8"}
    api.apply(node, manager="somebody")
    with pytest.raises(ClusterError, match="does not name and 'somebody' wrote"):
        install_flannel()
    assert api.get(NODE, "w1")["metadata"]["annotations"][key] == "203.0.113.8"
    api.merge(NODE, "w1", {"metadata": {"annotations": {key: None}}})


# -- Calico: definitions of our own, or upstream's where this computer has them


def _definition(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {
        "name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
    }  # fmt: skip
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Cluster", "versions": [served], "names": names},
    }  # fmt: skip


OWN = {
    "operator-crds.yaml": [
        _definition("operator.tigera.io", "v1", "Installation", "installations"),
        _definition("operator.tigera.io", "v1", "APIServer", "apiservers"),
        _definition("crd.projectcalico.org", "v1", "IPPool", "ippools"),
        _definition("crd.projectcalico.org", "v1", "FelixConfiguration", "felixconfigurations"),
    ],
    "tigera-operator.yaml": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tigera-operator"}},
    ],
}


def _minor(api: Api) -> int:
    """The server's minor version."""
    return int(api.version().split(".")[1])


def _older(found: Any) -> Any:
    """Without the rules and the empty defaults that a server before 1.25 does not take."""
    if isinstance(found, dict):
        return {
            key: _older(value)
            for key, value in found.items()
            if key != "x-kubernetes-validations" and (key, value) != ("default", "")
        }
    return [_older(one) for one in found] if isinstance(found, list) else found


def _for_server(api: Api, path: Path) -> list[dict[str, Any]]:
    """Upstream's objects, as this server can take them; before 1.21 it serves no policy/v1."""
    found = manifests.objects(path.read_bytes(), None)
    if _minor(api) < RULES_SINCE:
        served = [one for one in found if one["apiVersion"] != "policy/v1"]
        return [_older(one) for one in served]
    return found


def json_lines(found: list[dict[str, Any]]) -> bytes:
    """A manifest; JSON is YAML, and faster."""
    return "\n---\n".join(json.dumps(one) for one in found).encode()


@pytest.fixture
def install_calico(
    world: World, api: Api, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Install]:
    """Run Calico's deploy by operator; at the end nothing of it is left."""
    theirs = upstream("calico/v3.32.1")
    kind = getattr(request, "param", "own")
    sums = {}
    for name, own in OWN.items():
        found = own
        if kind == "upstream":
            found = _for_server(api, theirs / name)
        data = json_lines(found)
        (tmp_path / name).write_bytes(data)
        sums[name] = hashlib.sha256(data).hexdigest()
    world.ready = {"files": ["10-calico.conflist"]}

    def run(section: dict[str, Any] | None = None, **network: Any) -> Run:
        found = {"manifests": str(tmp_path), "sums": sums, "wait_s": 0, "api_server": False}
        return _run(calico, "calico", {**found, **(section or {})}, network)

    yield run
    for group in ("operator.tigera.io", "projectcalico.org", "policy.networking.k8s.io"):
        for one in api.list(CRD):
            if one["spec"]["group"].endswith(group):
                api.delete(CRD, one["metadata"]["name"])
    api.delete(DEPLOYMENT, "tigera-operator", "tigera-operator")
    api.delete(SERVICE_ACCOUNT, "tigera-operator", "tigera-operator")
    api.delete(NAMESPACE, "tigera-operator")
    _finalize(api, "tigera-operator")
    _until_gone(api)


def _until_gone(api: Api) -> None:
    for _ in range(120):
        if not [one for one in api.list(CRD) if "calico" in one["spec"]["group"]]:
            return
        time.sleep(1)
    raise AssertionError("the definitions do not go")


@pytest.mark.parametrize("install_calico", ["own", "upstream"], indirect=True)
def test_calico_then_nothing_then_a_safe_change_then_a_refusal(
    api: Api, install_calico: Install
) -> None:
    assert install_calico().failed == set()
    network = api.get(INSTALLATION, "default")["spec"]["calicoNetwork"]
    assert (network["mtu"], network["ipPools"][0]["blockSize"]) == (1450, 26)
    again = install_calico()
    assert (again.failed, again.operations) == (set(), 0)
    assert install_calico(mtu=1400).failed == set()
    assert api.get(INSTALLATION, "default")["spec"]["calicoNetwork"]["mtu"] == 1350
    # the operator is not there: what it would have made of the pool
    spec = {"cidr": PODS, "blockSize": 26, "ipipMode": "Never", "vxlanMode": "Always"}
    pool = {
        "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool",
        "metadata": {"name": "default-ipv4-ippool"}, "spec": spec,
    }  # fmt: skip
    api.create(IP_POOL, pool)
    pools = {"default-ipv4-ippool": {"cidr": PODS, "block_size": 24}}
    with pytest.raises(ClusterError, match="blockSize is 26 and would become 24"):
        install_calico({"pools": pools})
    with pytest.raises(ClusterError, match="encapsulation is vxlan and would become"):
        install_calico(encapsulation="vxlan-cross-subnet")


def test_pods_that_do_not_come_up_take_calico_back(api: Api, install_calico: Install) -> None:
    assert install_calico({"wait_s": 1}).failed == set(NAMES)
    _until_gone(api)
    assert api.find(INSTALLATION, "default") is None


def test_definitions_with_rules_are_refused_where_the_server_is_too_old(
    api: Api, install_calico: Install, tmp_path: Path
) -> None:
    found = json.loads(json.dumps(OWN["operator-crds.yaml"]))
    schema = found[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["x-kubernetes-validations"] = [{"rule": "true"}]
    data = json_lines(found)
    (tmp_path / "operator-crds.yaml").write_bytes(data)
    sums = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in OWN}
    if _minor(api) >= RULES_SINCE:
        assert install_calico({"sums": sums}).failed == set()
        return
    with pytest.raises(ClusterError, match=r"this is v1\.20\.\d+; upgrade"):
        install_calico({"sums": sums})
    assert api.find(NAMESPACE, "tigera-operator") is None


def test_a_wrong_sum_changes_nothing(api: Api, install_calico: Install) -> None:
    with pytest.raises(ManifestError, match="it is not the file that was checked"):
        install_calico({"sums": dict.fromkeys(OWN, "0" * 64)})
    assert api.find(NAMESPACE, "tigera-operator") is None


@pytest.fixture
def install_canal(world: World, api: Api, tmp_path: Path) -> Iterator[Install]:
    """Run the deploy with upstream's canal.yaml; at the end nothing of it is left."""
    data = json_lines(_for_server(api, upstream("calico/v3.32.1/canal.yaml")))
    (tmp_path / "canal.yaml").write_bytes(data)
    sums = {"canal.yaml": hashlib.sha256(data).hexdigest()}
    world.ready = {"files": ["10-canal.conflist"]}

    def run(section: dict[str, Any] | None = None, **network: Any) -> Run:
        given = {"install": "canal", "manifests": str(tmp_path), "sums": sums, "wait_s": 0}
        found = {**given, **(section or {})}
        return _run(calico, "calico", found, {"cni": "flannel", **network})

    yield run
    for one in api.list(CRD):
        if one["spec"]["group"].endswith(("projectcalico.org", "policy.networking.k8s.io")):
            api.delete(CRD, one["metadata"]["name"])
    for kind, name in ((DAEMON_SET, "canal"), (DEPLOYMENT, "calico-kube-controllers"),
                       (CONFIG_MAP, "canal-config")):  # fmt: skip
        api.delete(kind, name, "kube-system")
    _until_gone(api)


def test_canal_then_nothing_then_a_new_mtu(api: Api, install_canal: Install) -> None:
    assert install_canal().failed == set()
    again = install_canal()
    assert (again.failed, again.operations) == (set(), 0)
    assert install_canal(mtu=1400).failed == set()
    data = api.get(CONFIG_MAP, "canal-config", "kube-system")["data"]
    assert (data["veth_mtu"], json.loads(data["net-conf.json"])["Backend"]["MTU"]) == ("1350", 1400)
    with pytest.raises(ClusterError, match="canal-config: Network is"):
        install_canal(pod_cidr="10.244.0.0/17")


def test_pods_that_do_not_come_up_take_canal_back(api: Api, install_canal: Install) -> None:
    assert install_canal({"wait_s": 1}).failed == set(NAMES)
    _until_gone(api)
    assert api.find(DAEMON_SET, "canal", "kube-system") is None
    assert api.find(CONFIG_MAP, "canal-config", "kube-system") is None
    # a change that does not come up leaves what was proved
    assert install_canal().failed == set()
    proved = api.get(CONFIG_MAP, "canal-config", "kube-system")["data"]
    assert install_canal({"wait_s": 1}, mtu=1400).failed == set(NAMES)
    assert api.get(CONFIG_MAP, "canal-config", "kube-system")["data"] == proved
