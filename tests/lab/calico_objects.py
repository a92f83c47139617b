"""Calico's BGP objects on an API server without Calico, and a stand-in for its calico-node.

The schemas are a small set of our own, with the fields and limits that Calico's have and a
conversion touches (projectcalico.org/v3). `CalicoNode` answers each CalicoNodeStatus with the
sessions and routes that the objects in the API mean; no BGP is spoken here.

    UNDERLAY_LAB=NAME python -m tests.lab.calico_objects     for that lab, until it is stopped
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from underlay.cluster import Api, Kind
from underlay.cluster.access import from_kubeconfig
from underlay.cluster.objects import NODE
from underlay.errors import ClusterError
from underlay.features.route_reflectors import plan, view
from underlay.features.route_reflectors.spread import Graph
from underlay.features.route_reflectors.store import V3, ApiStore, kind, served
from underlay.lab import state

CRD = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions",
    namespaced=False,
)  # fmt: skip
_TEXT = {"type": "string"}
_REFERENCE = {"type": "object", "properties": {"name": _TEXT, "key": _TEXT}, "required": ["key"]}
_AS = {"type": "integer", "format": "int64", "minimum": 0, "maximum": 4294967295}
#: Kind to the properties of its spec.
SPECS: dict[str, dict[str, Any]] = {
    "BGPConfiguration": {"nodeToNodeMeshEnabled": {"type": "boolean"}, "asNumber": _AS},
    "BGPPeer": {
        "nodeSelector": _TEXT, "peerSelector": _TEXT, "peerIP": _TEXT, "node": _TEXT,
        "asNumber": _AS,
        "password": {"type": "object", "properties": {"secretKeyRef": _REFERENCE}},
    },
    "CalicoNodeStatus": {
        "node": _TEXT,
        "classes": {"type": "array", "items": {"enum": ["Agent", "BGP", "Routes"], **_TEXT}},
        "updatePeriodSeconds": {"type": "integer", "minimum": 0, "maximum": 86400},
    },
}  # fmt: skip


def _definition(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    of = kind(name, V3)
    properties = {
        "spec": {"type": "object", "properties": spec},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    group, _, version = V3.partition("/")
    return {
        "apiVersion": CRD.version, "kind": CRD.name,
        "metadata": {"name": f"{of.plural}.{group}"},
        "spec": {
            "group": group, "scope": "Cluster",
            "names": {"kind": name, "plural": of.plural, "singular": name.lower(),
                      "listKind": f"{name}List"},
            "versions": [{
                "name": version, "served": True, "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
            }],
        },
    }  # fmt: skip


@contextmanager
def installed(api: Api, addresses: dict[str, str]) -> Iterator[CalicoNode]:
    """The kinds, the nodes' BGP addresses and the stand-in while the context lasts."""
    definitions = [_definition(name, spec) for name, spec in SPECS.items()]
    node = CalicoNode(api)
    try:
        for definition in definitions:
            api.create(CRD, definition)
        for name, address in addresses.items():
            notes = {plan.ADDRESSES[0]: f"{address}/24"}
            api.merge(NODE, name, {"metadata": {"annotations": notes}})
        _wait(api)
        node.start()
        yield node
    finally:
        node.stop()
        for definition in definitions:
            api.delete(CRD, definition["metadata"]["name"])
        for name in addresses:
            gone = {"annotations": dict.fromkeys((plan.ADDRESSES[0], plan.ID)),
                    "labels": {"route-reflector": None}}  # fmt: skip
            api.merge(NODE, name, {"metadata": gone, "spec": {"unschedulable": None}})


def _wait(api: Api) -> None:
    """Until the server serves all kinds, discovery and lists alike."""
    for _ in range(120):
        with suppress(ClusterError):
            if all(served(api, V3, kind(name, V3).plural) for name in SPECS):
                for name in SPECS:
                    api.list(kind(name, V3))
                return
        time.sleep(0.5)
    raise AssertionError("the API server does not serve the kinds")


class CalicoNode:
    """Every node's calico-node; deaf: nodes that get no session with a reflector."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.deaf: set[str] = set()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def _run(self) -> None:
        of = kind("CalicoNodeStatus", V3)
        while not self._ended.wait(0.5):
            # an object may be gone before its answer
            with suppress(ClusterError):
                for found in self._api.list(of):
                    if "status" not in found:
                        status = self.status(found["spec"]["node"])
                        self._api.merge(of, found["metadata"]["name"], {"status": status})

    def status(self, name: str) -> dict[str, Any]:
        """What calico-node would say of one node."""
        layout = view.read(self._api, ApiStore(self._api, V3), "route-reflector").layout
        graph = Graph.of(layout)
        reflectors = {node.name for node in layout.nodes if node.cluster_id}
        for node in self.deaf & set(graph.peers):
            graph.peers[node] -= reflectors
            for reflector in reflectors:
                graph.peers[reflector].discard(node)
        peers = [
            {
                "peerIP": session.address, "type": "NodePeer",
                "state": "Established" if session.peer in graph.peers[name] else "Active",
            }
            for session in layout.sessions()[name]
        ]  # fmt: skip
        known = [o for o in graph.peers if name in graph.spread(o)]
        routes = [
            {"type": "FIB", "destination": _block(layout.nodes, other),
             "learnedFrom": {"sourceType": "Static" if other == name else "BGPPeer"}}
            for other in (*known, name)
        ]  # fmt: skip
        return {
            "lastUpdated": "2026-01-01T00:00:00Z", "bgp": {"peersV4": peers},
            "routes": {"routesV4": routes},
        }  # fmt: skip


def _block(nodes: tuple[Any, ...], name: str) -> str:
    number = [node.name for node in nodes].index(name)
    return f"10.244.{number}.0/26"


def main() -> None:
    """Stand in for Calico on the running lab until SIGTERM; the objects go, too."""
    lab = state.chosen()
    addresses = {machine.name: machine.address for machine in lab.topology.machines}
    with installed(from_kubeconfig(lab.kubeconfig), addresses):
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    # before the threads start, so that they leave the signals to main
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
