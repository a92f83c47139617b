"""The mesh is off, and every node peers with both reflectors: what the API server holds."""

import os

from underlay.cluster.access import from_kubeconfig
from underlay.cluster.objects import NODE
from underlay.features.route_reflectors import view
from underlay.features.route_reflectors.store import V3, ApiStore
from underlay.lab import state


def test_the_objects():
    api = from_kubeconfig(state.load(os.environ["UNDERLAY_LAB"]).kubeconfig)
    found = view.read(api, ApiStore(api, V3), "route-reflector").state
    assert found.mesh is False
    assert sorted(found.marks) == ["cp1", "w1"]
    assert sorted(found.peers) == ["underlay-rr-all", "underlay-rr-reflectors"]
    assert not [node for node in api.list(NODE) if node["spec"].get("unschedulable")]
