"""Which way to Calico's objects is taken, and what calicoctl is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.fake.calico import Calico

from underlay.errors import ClusterError
from underlay.features.route_reflectors.store import STORAGE, V3, CalicoctlStore, choose, kind


class Tool:
    """calicoctl with two kinds of objects; calls: its words."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, words: tuple[str, ...], text: str) -> str:
        """Run it."""
        self.calls.append(words)
        verb, what = words[0], words[1].lower()
        if verb == "get":
            found = [o for o in self.objects.values() if o["kind"].lower() == what]
            return json.dumps({"kind": f"{words[1]}List", "items": found})
        if verb == "apply":
            given = json.loads(text)
            assert given["apiVersion"] == V3
            self.objects[given["metadata"]["name"]] = given
        elif verb == "delete":
            self.objects.pop(words[2], None)
        return ""


def api(*served: str) -> Any:
    """An API server that serves these versions."""
    found = Calico(1)
    found.served = set(served)
    return found


@pytest.mark.parametrize(
    ("served", "tool", "how"),
    [
        ((V3, STORAGE), True, V3),
        ((STORAGE,), True, "calicoctl on cp1"),
        ((), True, "calicoctl on cp1"),
        ((STORAGE,), False, STORAGE),
    ],
)
def test_the_best_way_that_is_there(served: tuple[str, ...], tool: bool, how: str) -> None:
    found = choose(api(*served), lambda: (Tool(), "cp1") if tool else None)
    assert found.how.partition(" itself")[0] == how
    assert ("last resort" in found.how) is (how == STORAGE)


def test_no_way_at_all() -> None:
    with pytest.raises(ClusterError, match="serves neither"):
        choose(api(), lambda: None)


def test_plurals() -> None:
    paths = [kind(name, V3).path() for name in
             ("BGPPeer", "BGPConfiguration", "CalicoNodeStatus")]  # fmt: skip
    assert [path.rpartition("/")[2] for path in paths] == [
        "bgppeers", "bgpconfigurations", "caliconodestatuses",
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["api", "calicoctl"])
def test_both_ways_write_the_same(way: str) -> None:
    tool, server = Tool(), api(V3)
    store: Any = CalicoctlStore(tool, "cp1") if way == "calicoctl" else choose(server, lambda: None)
    assert (store.peers(), store.configuration()) == ({}, {})
    store.set_mesh(on=False)
    store.put_peer("p", {"peerSelector": "a == 'b'", "nodeSelector": "all()"})
    store.put_peer("p", {"peerIP": "203.0.113.1", "asNumber": 65001})
    assert store.configuration() == {"nodeToNodeMeshEnabled": False}
    # a key that is not wanted any more goes
    assert store.peers() == {"p": {"peerIP": "203.0.113.1", "asNumber": 65001}}
    store.drop_peer("p")
    store.drop_peer("p")
    assert store.peers() == {}


@pytest.mark.parametrize("way", ["api", "calicoctl"])
def test_the_mesh_is_one_field_and_the_rest_of_the_configuration_stays(way: str) -> None:
    tool, server = Tool(), api(V3)
    spec = {"asNumber": 65001, "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}]}
    meta = {"name": "default", "resourceVersion": "5"}
    found = {"apiVersion": V3, "kind": "BGPConfiguration", "metadata": meta, "spec": spec}
    tool.objects["default"] = found
    server.objects["BGPConfiguration", "default"] = found
    store: Any = CalicoctlStore(tool, "cp1") if way == "calicoctl" else choose(server, lambda: None)
    store.set_mesh(on=False)
    assert store.configuration() == {**spec, "nodeToNodeMeshEnabled": False}
    if way == "calicoctl":
        # what somebody else has written meanwhile is refused by its version
        assert tool.objects["default"]["metadata"]["resourceVersion"] == "5"


def test_nonsense_of_calicoctl_is_an_error() -> None:
    with pytest.raises(ClusterError, match="no list of objects"):
        CalicoctlStore(lambda words, text: "warning", "cp1").peers()
