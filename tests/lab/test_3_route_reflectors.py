"""What a conversion writes, accepted by a real API server: objects, ids, labels, cordons, lease.

    cp1 (reflector)   w1 (reflector)   w2 (client, runs a pod of a Deployment)

There is no Calico here: tests/lab/calico_objects.py answers for it, and says what it stands in for.
What BIRD makes of it is proved in tests/netns/test_route_reflectors.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.lab.calico_objects import CalicoNode, installed
from tests.lab.machines import Machines

from underlay.cluster import Api
from underlay.cluster.access import from_kubeconfig
from underlay.cluster.objects import LEASE, NODE
from underlay.features.route_reflectors import view
from underlay.features.route_reflectors.plan import Mark, State
from underlay.features.route_reflectors.store import V3, ApiStore, kind

pytestmark = pytest.mark.lab

ENTRY = "deploys/route_reflectors.py"
MESH = State(mesh=True)
PEERS = {"underlay-rr-all", "underlay-rr-reflectors"}


def data(**changes: Any) -> tuple[str, str]:
    """`--data` for the section: reflectors cp1 and w1."""
    group = {"cluster_id": "244.0.0.1", "reflectors": ["cp1", "w1"]}
    section = {"groups": {"all": group}, "wait_seconds": 60, **changes}
    return "--data", f"route_reflectors={json.dumps(section)}"


@pytest.fixture(scope="module")
def api(machines: Machines) -> Api:
    """The API server of the lab."""
    return from_kubeconfig(machines.lab.kubeconfig)


@pytest.fixture(scope="module")
def calico(machines: Machines, api: Api) -> Iterator[CalicoNode]:
    """Calico's kinds, and who answers for calico-node."""
    addresses = {name: machines.lab.machine(name).address for name in machines.names}
    with installed(api, addresses) as found:
        yield found


def state(api: Api) -> State:
    """What the API server holds."""
    return view.read(api, ApiStore(api, V3), "route-reflector").state


def cordoned(api: Api) -> list[str]:
    """Nodes that take no pods, and leases and questions that were left."""
    nodes = [n["metadata"]["name"] for n in api.list(NODE) if n["spec"].get("unschedulable")]
    lease = api.find(LEASE, "underlay-route-reflectors", "kube-system")
    asked = api.list(kind("CalicoNodeStatus", V3))
    return [*nodes, *(["lease"] if lease else []), *(a["metadata"]["name"] for a in asked)]


def test_a_node_that_runs_pods_is_refused(machines: Machines, api: Api, calico: CalicoNode) -> None:
    group = {"cluster_id": "244.0.0.1", "reflectors": ["w1", "w2"]}
    done = machines.pyinfra(*data(groups={"all": group}), ENTRY)
    assert done.returncode == 1
    assert "w2: runs 1 pods, as default/echo-single" in done.stdout + done.stderr
    assert state(api) == MESH


def test_a_gate_that_fails_leaves_the_mesh(
    machines: Machines, api: Api, calico: CalicoNode
) -> None:
    calico.deaf = {"w2"}
    try:
        done = machines.pyinfra(*data(wait_seconds=10), ENTRY)
    finally:
        calico.deaf = set()
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    assert "1 of 2 sessions are Established" in text
    assert "(w2) is Active" in text
    assert (state(api), cordoned(api)) == (MESH, [])


def test_forth_again_and_back(machines: Machines, api: Api, calico: CalicoNode) -> None:
    assert machines.applied(*data(), ENTRY)["success"] > 0
    found = state(api)
    marks = dict.fromkeys(("cp1", "w1"), Mark("244.0.0.1", "all"))
    assert (found.mesh, dict(found.marks), set(found.peers)) == (False, marks, PEERS)
    assert cordoned(api) == []
    machines.unchanged(*data(), ENTRY)
    live = machines.underlay("route-reflectors", "plan", "inventory.py", "--live", *data())
    assert live.returncode == 0, live.stderr
    assert "cp1 down: every route stays" in live.stdout
    done = machines.underlay("journal", "inventory.py", "--change", "route_reflectors")
    assert "committed" in done.stdout
    assert machines.applied(*data(mesh=True), ENTRY)["success"] > 0
    assert (state(api), cordoned(api)) == (MESH, [])
    machines.unchanged(*data(mesh=True), ENTRY)
