"""A controller that is killed at any call of a CNI's run: the next run ends it, and then nothing.

The rule: a cut leaves what had been done by then, in the cluster and on the nodes; a namespace and
what an operator looks after are gone only some calls after they were deleted.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.calico_cluster import CANAL, DEFINITIONS, MANIFEST, OPERATOR, Calico
from tests.fake.test_flannel import NAMES as NODES
from tests.fake.test_flannel import NETWORK, Flannel
from tests.fake.world import Clock, Run, run_on

from underlay.cluster import lease
from underlay.features.calico import deploy as calico
from underlay.features.flannel import deploy as flannel
from underlay.operations import cluster_objects

#: Before which calls the controller is killed: a sample of all; every one takes minutes.
EVERY = pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
#: Seconds that a run waits for pods here.
WAIT = 5


@dataclass
class Scene:
    """One cluster, and the run that is to be killed. mtu: of the underlay, as it is wanted."""

    world: Flannel | Calico
    install: Callable[[int], Run]
    mtu: int

    def run(self) -> Run:
        """One run with what is wanted."""
        return self.install(self.mtu)

    @property
    def state(self) -> tuple[object, object]:
        """All that a run changes, without versions."""
        cluster = {
            key: {
                **found,
                "metadata": {**found["metadata"], "resourceVersion": "", "generation": 0},
            }
            for key, found in self.world.cluster.state().items()
        }
        return cluster, self.world.readings

    def keep(self) -> Callable[[], None]:
        """Puts back what there is now."""
        world = self.world
        kept = copy.deepcopy((world.cluster.objects, world.cluster.owners, world.readings))

        def back() -> None:
            cluster = world.cluster
            cluster.objects, cluster.owners, world.readings = copy.deepcopy(kept)
            cluster.going, cluster.power, cluster.spent = {}, None, 0

        return back

    def answer(self, host: str, text: str) -> Any:
        """What a node's shell gives; its device takes the MTU that it is told."""
        self.world.cluster.spend(f"host {host}")
        if "ip link set dev flannel.1 mtu" in text:
            self.world.readings[host] = {"devices": device(self.mtu - 50)}
        return self.world.answer(host, text)


def device(mtu: int) -> list[str]:
    """flannel's device as ip shows it."""
    return [json.dumps([{"ifname": "flannel.1", "mtu": mtu, "txqlen": 1000, "addr_info": []}])]


def of_flannel(_: Path) -> tuple[Flannel, Callable[[int], Run]]:
    """Three nodes with a block each."""
    world = Flannel()
    world.readings = {name: {"devices": device(1450)} for name in NODES}
    for number, name in enumerate(NODES):
        spec = {"podCIDR": f"10.244.{number}.0/24"}
        world.cluster.put(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}
        )
    section = {"wait_s": WAIT, "public_ips": {NODES[1]: "203.0.113.7"}}

    def install(mtu: int) -> Run:
        data: dict[str, object] = {"flannel": section, "network": {**NETWORK, "mtu": mtu}}
        return run_on(list(NODES), flannel.install, data)

    return world, install


def of_calico(folder: Path, how: str, cni: str = "calico") -> tuple[Calico, Callable[[int], Run]]:
    """Two nodes, and manifests shaped as upstream's."""
    world = Calico(folder=folder)
    world.ready = {"files": ["10-canal.conflist" if how == "canal" else "10-calico.conflist"]}
    for name, found in (
        ("operator-crds.yaml", DEFINITIONS), ("tigera-operator.yaml", OPERATOR),
        ("canal.yaml", CANAL), ("calico.yaml", MANIFEST),
    ):  # fmt: skip
        world.file(name, found)
    space = {"name": "kube-system"}
    world.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": space})
    words = {"install": how, "metrics": True, "wait_s": WAIT}
    if cni == "flannel":
        world.readings = {name: {"devices": device(1450)} for name in ("@fake/cp1", "@fake/w1")}
        for number, name in enumerate(world.readings):
            spec = {"podCIDR": f"10.244.{number}.0/24"}
            world.cluster.put(
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}
            )
    bgp = how == "manifest"
    return world, lambda mtu: world.install(words, cni=cni, mtu=mtu, bgp=bgp)


KINDS: dict[str, Callable[[Path], tuple[Any, Callable[[int], Run]]]] = {
    "flannel": of_flannel,
    "operator": lambda folder: of_calico(folder, "operator"),
    "manifest": lambda folder: of_calico(folder, "manifest"),
    "canal": lambda folder: of_calico(folder, "canal", "flannel"),
}


@pytest.fixture(params=KINDS)
def scene(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scene:
    """A cluster without a CNI."""
    world, install = KINDS[request.param](tmp_path)
    found = Scene(world, install, 1500)
    world.cluster.lasting = 9
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: found.answer(self.host.name, text)
    )
    for module in (calico, flannel):
        monkeypatch.setattr(module, "api_of", lambda state, settings: world.cluster)
    for timed in (cluster_objects, lease):
        monkeypatch.setattr(timed, "time", Clock())
    monkeypatch.chdir(tmp_path)
    return found


def cuts(scene: Scene, step: int) -> Iterator[str]:
    """Kill one run after another, each at a later call; the world is as that one left it."""
    back = scene.keep()
    scene.world.cluster.calls.clear()
    scene.run()
    calls = [*scene.world.cluster.calls]
    assert len(calls) > 2 * WAIT
    for cut in range(len(calls) - 1, 0, -step):
        back()
        scene.world.cluster.power = cut
        with contextlib.suppress(Exception):
            scene.run()
        assert scene.world.cluster.spent == cut, f"no cut before call {cut}"
        scene.world.cluster.power = None
        # its process is gone, and this computer does not know it
        held = scene.world.cluster.objects.get(("Lease", "kube-system", "underlay-cni"))
        if held:
            held["spec"]["holderIdentity"] = "another/1"
        yield f"call {cut}, {calls[cut]}"


def ends(scene: Scene, wanted: object, where: str) -> None:
    """A run that succeeds with what is wanted, and one after it that writes nothing."""
    assert scene.run().failed == set(), where
    assert scene.state == wanted, where
    held = [key for key in scene.world.cluster.objects if key[0] == "Lease"]
    assert not held, f"{where}: the lease is still there"
    again = scene.run()
    assert (again.failed, again.operations) == (set(), 0), where


def end_of_a_run(scene: Scene, change: bool) -> object:
    """What an undisturbed run makes, of nothing or of an older MTU; nothing of it is left."""
    if change:
        assert scene.run().failed == set()
        scene.mtu = 1400
    back = scene.keep()
    assert scene.run().failed == set()
    wanted = scene.state
    back()
    return wanted


@EVERY
@pytest.mark.parametrize("change", [False, True], ids=["install", "change"])
def test_a_run_that_was_killed_is_ended_by_the_next(scene: Scene, step: int, change: bool) -> None:
    wanted = end_of_a_run(scene, change)
    for where in cuts(scene, step):
        ends(scene, wanted, where)


@EVERY
@pytest.mark.parametrize("change", [False, True], ids=["install", "change"])
def test_a_way_back_that_was_killed_is_no_obstacle(scene: Scene, step: int, change: bool) -> None:
    wanted = end_of_a_run(scene, change)
    scene.world.cluster.ready = lambda found: False
    for where in cuts(scene, step):
        scene.world.cluster.ready = lambda found: True
        ends(scene, wanted, where)
        scene.world.cluster.ready = lambda found: False


def test_pods_that_a_killed_run_left_are_waited_for_by_every_run_until_they_come_up(
    scene: Scene,
) -> None:
    back = scene.keep()
    scene.world.cluster.calls.clear()
    assert scene.run().failed == set()
    calls = scene.world.cluster.calls
    back()
    # every object is written, and the lease not given back
    scene.world.cluster.power = calls.index("delete Lease underlay-cni")
    with contextlib.suppress(Exception):
        scene.run()
    scene.world.cluster.power = None
    scene.world.cluster.ready = lambda found: False
    for _ in range(2):
        assert scene.run().failed == set(scene.world.readings or scene.world.backed_up)
    scene.world.cluster.ready = lambda found: True
    ends(scene, scene.state, "the pods came up")


def test_a_run_that_fails_after_one_that_was_killed_leaves_its_sign(scene: Scene) -> None:
    meta = {"name": "underlay-cni", "namespace": "kube-system", "resourceVersion": "1"}
    kept = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}}
    scene.world.cluster.put(kept)
    scene.world.cluster.ready = lambda found: False
    assert scene.run().failed
    assert ("Lease", "kube-system", "underlay-cni") in scene.world.cluster.objects
    scene.world.cluster.ready = lambda found: True
    assert scene.run().failed == set()
    assert ("Lease", "kube-system", "underlay-cni") not in scene.world.cluster.objects
