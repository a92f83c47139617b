"""Conversions on real BIRD daemons: 12 nodes and 2 reflectors, every pod pinging every other.

The deploy is the product's own, against the stand-ins that tests/netns/bird.py names. Target: not
one datagram lost between nodes that are no reflectors, forth and back; the unsafe order loses some,
so that this can fail.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.world import run_on
from tests.netns.bird import BirdCluster
from tests.netns.pinger import EVERY

from underlay.facts.bird import SOCKETS, Bird
from underlay.features.route_reflectors import deploy, nodes, plan
from underlay.features.route_reflectors.deploy import reflect
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.route_reflectors.store import V3, ApiStore

pytestmark = pytest.mark.netns

REFLECTORS = (1, 2)
COUNT = 14
RR1, RR2 = "@fake/n1", "@fake/n2"
FORWARD: dict[str, Any] = {"groups": {"all": {"cluster_id": "244.0.0.1", "reflectors": [RR1, RR2]}}}
Seen = dict[tuple[int, int], tuple[int, int, int]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BirdCluster]:
    """Fourteen nodes in a full mesh, every route known everywhere."""
    found = BirdCluster(COUNT, tmp_path_factory.mktemp("bird"))
    try:
        found.start()
        found.wait_for_routes()
        yield found
    finally:
        found.stop()


@pytest.fixture
def convert(cluster: BirdCluster, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the deploy with a section; the failed hosts."""
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: cluster.answer(self.host.name, text)
    )
    monkeypatch.setattr(deploy, "api_of", lambda state, settings: cluster)
    return lambda section: run_on(cluster.names, reflect, {"route_reflectors": section}).failed


def lost(seen: Seen, what: str, without: tuple[int, ...] = REFLECTORS) -> int:
    """Datagrams lost between the others, after telling the longest gap of both kinds."""
    others = [entry for pair, entry in seen.items() if not set(pair) & set(without)]
    theirs = [entry for pair, entry in seen.items() if set(pair) & set(without)]
    sent = max(entry[0] for entry in others)
    assert sent > 20
    for name, entries in (("other nodes", others), ("reflectors", theirs)):
        gap = max(entry[2] for entry in entries) * EVERY
        print(
            f"{what}: {sent} datagrams per pair, {name}: {sum(e[1] for e in entries)} lost of"
            f" {sum(e[0] for e in entries)}, longest gap {gap:.2f} s"
        )
    return sum(entry[1] for entry in others)


#: Programs on a node's path: birdcl itself, crictl of calico-node's container, or python3 alone.
WAYS = {
    "birdcl": '#!/bin/sh\nexec /usr/sbin/birdcl "$@"\n',
    "crictl": '#!/bin/sh\nif [ $1 = ps ]; then echo 42; else shift 3; exec /usr/sbin/birdcl "$@";'
    " fi\n",
    "python3": "",
}


@pytest.mark.parametrize("way", WAYS)
def test_bird_is_asked_by_whatever_the_node_has(
    cluster: BirdCluster, tmp_path: Path, way: str
) -> None:
    for name in ("sh", "head", sys.executable):
        (tmp_path / Path(name).name).symlink_to(shutil.which(name) or name)
    if not (tmp_path / "python3").exists():
        (tmp_path / "python3").symlink_to(sys.executable)
    if WAYS[way]:
        (tmp_path / way).write_text(WAYS[way])
        (tmp_path / way).chmod(0o755)
    text = shlex.split(str(Bird().command()))[-1].replace(SOCKETS, str(cluster.folder / "n9"))
    done = subprocess.run(
        ["/bin/sh", "-c", text], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    found = Bird().process(done.stdout.splitlines())
    assert found is not None
    assert set(found.sessions.values()) == {"Established"}
    assert len(found.sessions) == len(found.learned) == COUNT - 1
    assert found.own == {"10.244.9.0/26"}


def test_forth_one_reflector_killed_and_back(cluster: BirdCluster, convert: Any) -> None:
    with cluster.pinging() as seen:
        assert convert(FORWARD) == set()
    assert lost(seen, "mesh to reflectors") == 0
    assert sum(len(found) for found in cluster.layout().sessions().values()) == 2 * (2 * 12 + 1)
    assert "Mesh_" not in cluster.birdc("@fake/n9", "show", "protocols")

    with cluster.pinging() as seen:
        cluster.kill(RR1)
        _wait_until_seen(cluster)
        # long enough for a route that is withdrawn later than its session ends
        time.sleep(5)
    assert lost(seen, "one reflector killed", without=(1,)) == 0
    for number in range(3, COUNT + 1):
        assert cluster.routes(number) == COUNT - 1
        # not by the grace that a restarted router gets: the other reflector has them all
        told = cluster.birdc(
            f"@fake/n{number}", "show", "route", "protocol", "Node_192_0_2_2", "count"
        )
        assert f"{COUNT - 1} of " in told

    cluster.restart(RR1)
    _wait_until_seen(cluster, up=True)
    with cluster.pinging() as seen:
        assert convert({"mesh": True}) == set()
    assert lost(seen, "reflectors to mesh") == 0
    assert "Node_" not in cluster.birdc("@fake/n9", "show", "protocols")


def test_a_gate_that_fails_loses_nothing_either(cluster: BirdCluster, convert: Any) -> None:
    """The second reflector's BIRD does not run: the run goes back to the mesh."""
    cluster.wait_for_routes()
    cluster.kill(RR2)
    with cluster.pinging() as seen:
        assert convert({**FORWARD, "wait_seconds": 10}) == {RR1}
    assert cluster.mesh
    assert cluster.reflectors == {}
    assert lost(seen, "rolled back") == 0
    cluster.restart(RR2)
    cluster.wait_for_routes()


def test_the_unsafe_order_loses_traffic(cluster: BirdCluster) -> None:
    """The mesh off first, as one manifest with everything in it does."""
    cluster.wait_for_routes()
    wanted = plan.wanted(RouteReflectors(**FORWARD), {})
    api: Any = cluster
    with cluster.pinging() as seen:
        store = ApiStore(api, V3)
        store.set_mesh(on=False)
        for name, mark in wanted.marks.items():
            nodes.set_mark(api, name, mark, "route-reflector")
        for name, spec in wanted.peers.items():
            store.put_peer(name, spec)
        cluster.wait_for_routes()
    assert lost(seen, "mesh off first") > 0


def _wait_until_seen(cluster: BirdCluster, *, up: bool = False) -> None:
    """Until every client knows that the first reflector is gone, or there again."""
    for _ in range(300):
        states = [
            "Established" in cluster.birdc(f"@fake/n{n}", "show", "protocols", "Node_192_0_2_1")
            for n in range(2, COUNT + 1)
        ]
        if all(state is up for state in states):
            return
        time.sleep(0.2)
    raise AssertionError(states)
