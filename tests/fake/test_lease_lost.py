"""Another run takes the lease in the middle: nothing more is changed, and the person is told.

This computer slept, or had no way to the API server, for longer than a lease holds. What was begun
stays as it is for whoever holds the lease now; the journal lets the next run go on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.calico import Calico
from tests.fake.cluster import Cluster
from tests.fake.cni_world import World as Nodes
from tests.fake.world import Clock, World, run, run_on

from underlay.cluster import drain, lease
from underlay.cluster.lease import SECONDS
from underlay.features.flannel import deploy as flannel
from underlay.features.kube_proxy.deploy import migrate_to_ipvs
from underlay.features.route_reflectors import deploy as reflectors
from underlay.features.route_reflectors import proof, status, writes
from underlay.operations import cluster_objects, kube_proxy

Make = Callable[[int], World]
OTHER = "other/9"
TOLD = f"{OTHER} took the lease kube-system/"
REMEDY = "wait until no other run is at work, look at what it did, then run this one again"


@pytest.mark.parametrize(
    "moment", ["delete:Pod @fake/n1", "probes @fake/n1", "journal:committed @fake/n1"]
)
def test_a_migration_halts(make_world: Make, moment: str, caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(3)
    seen: list[int] = []

    def taken(call: str) -> bool:
        if call == moment and world.revision > 1 and not seen:
            world.holder, world.renewals = OTHER, world.renewals + 1
            world.clock.sleep(SECONDS + 1)
            seen.append(len(world.calls))
        return False

    world.refuse = taken
    with caplog.at_level("INFO"):
        assert run(world, migrate_to_ipvs, {}).failed == set(world.nodes)
    after = world.calls[seen[0] :]
    assert not [c for c in after if c.startswith(("merge", "delete", "clean", "cordon"))]
    assert world.nodes["@fake/n2"].mode == world.nodes["@fake/n3"].mode == "iptables"
    assert (world.holder, world.revision) == (OTHER, 2)
    assert TOLD in caplog.text
    assert REMEDY in caplog.text
    assert "it runs in mode iptables again" not in caplog.text


def test_a_conversion_halts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = Calico(4)
    clock = Clock()
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    monkeypatch.setattr(reflectors, "api_of", lambda state, settings: world)
    for module in (drain, proof, status, writes, kube_proxy, lease):
        monkeypatch.setattr(module, "time", clock)
    key = ("Lease", "underlay-route-reflectors")

    def taken(call: str) -> bool:
        if call == "create:BGPPeer underlay-rr-all":
            world.objects[key]["spec"]["holderIdentity"] = OTHER
            clock.sleep(SECONDS + 1)
        return False

    world.refuse = taken
    group = {"cluster_id": "244.0.0.1", "reflectors": ["@fake/n1", "@fake/n2"]}
    settings = {"groups": {"all": group}, "wait_seconds": 10}
    with caplog.at_level("INFO"):
        failed = run_on(world.names, reflectors.reflect, {"route_reflectors": settings}).failed
    assert failed == {"@fake/n1"}
    # the one that was under way is the last
    assert world.events[-1] == "put BGPPeer underlay-rr-all"
    assert world.mesh
    assert world.objects[key]["spec"]["holderIdentity"] == OTHER
    assert TOLD in caplog.text
    assert REMEDY in caplog.text


def test_an_installation_of_a_cni_halts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, nodes, clock = Cluster(), Nodes(), Clock()
    meta = {"name": "@fake/n1"}
    node: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": meta}
    cluster.put({**node, "spec": {"podCIDR": "10.244.0.0/24"}})
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: nodes.answer(self.host.name, text)
    )
    monkeypatch.setattr(flannel, "api_of", lambda state, settings: cluster)
    monkeypatch.setattr(cluster_objects, "time", clock)
    monkeypatch.setattr(lease, "time", clock)
    monkeypatch.chdir(tmp_path)
    key = ("Lease", "kube-system", "underlay-cni")

    def taken(call: str) -> bool:
        if call == "apply ClusterRole flannel":
            cluster.objects[key]["spec"]["holderIdentity"] = OTHER
            clock.sleep(SECONDS + 1)
        return False

    cluster.refuse = taken
    network = {"cni": "flannel", "pod_cidr": "10.244.0.0/16", "mtu": 1500}
    with caplog.at_level("INFO"):
        failed = run_on(["@fake/n1"], flannel.install, {"network": network}).failed
    assert failed == {"@fake/n1"}
    assert cluster.writes == ["apply Namespace kube-flannel", "apply ClusterRole flannel"]
    assert cluster.objects[key]["spec"]["holderIdentity"] == OTHER
    assert TOLD in caplog.text
    assert REMEDY in caplog.text
