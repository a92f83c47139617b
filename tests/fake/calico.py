"""A cluster with Calico and no machines: the API server, and what BIRD would do with its objects.

The rule: the product's two ways out are replaced, the shell of a host and the API server, and
nothing else of it. BIRD's answers are written in BIRD's own format.
"""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Callable
from typing import Any

from pyinfra.connectors.util import CommandOutput, OutputLine
from tests.fake.world import Killed

from underlay.cluster.objects import ACCESS_REVIEW, LEASE, NODE, POD, Kind
from underlay.errors import ClusterError
from underlay.facts.script import MARK
from underlay.features.route_reflectors import plan, view
from underlay.features.route_reflectors.spread import Graph
from underlay.features.route_reflectors.store import V3, ApiStore
from underlay.features.route_reflectors.topology import Layout

LABEL = "route-reflector"


class Calico:
    """Nodes, objects and BGP.

    served: API versions of Calico's objects; refuse: called with the name of every call, as
    `merge:Node @fake/n1` or `bird @fake/n2`, True makes it fail; power: for how many calls it lasts
    (0 and more); deaf: nodes whose sessions with reflectors never come up; ssh: whether BIRD
    answers on hosts; lag: how many reads BIRD takes to follow a change of objects.
    """

    def __init__(self, count: int) -> None:
        self.names = [f"@fake/n{number}" for number in range(1, count + 1)]
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        for number, name in enumerate(self.names, start=1):
            self.objects["Node", name] = {
                "metadata": {
                    "name": name, "labels": {"rack": "ab"[number % 2]},
                    "annotations": {plan.ADDRESSES[0]: f"192.0.2.{number}/24"},
                },
                "spec": {},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }  # fmt: skip
        self.journal: list[str] = []
        self.calls: list[str] = []
        self.events: list[str] = []
        self.refuse: Callable[[str], bool] = lambda call: False
        self.power: int | None = None
        self.dead = False
        self.deaf: set[str] = set()
        self.ssh = True
        self.served = {V3}
        self.lag = 0
        self.revision = 0
        self.calicoctl = False
        self._seen: Layout | None = None
        self._behind = 0

    # -- what BGP makes of the objects

    def layout(self) -> Layout:
        """What the objects mean now."""
        return view.read(_Quiet(self), ApiStore(_Quiet(self), V3), LABEL).layout  # type: ignore[arg-type]

    def bird(self, name: str) -> tuple[dict[str, bool], set[str]]:
        """Address of each peer and whether it is Established; nodes whose block is known."""
        now = self.layout()
        if self._seen is None or self._behind >= self.lag:
            self._seen, self._behind = now, 0
        elif now != self._seen:
            self._behind += 1
        reflectors = {node.name for node in self._seen.nodes if node.cluster_id}
        graph = Graph.of(self._seen)
        for node in self.deaf:
            graph.peers[node] -= reflectors
            for reflector in reflectors:
                graph.peers[reflector].discard(node)
        sessions = {s.address: s.peer in graph.peers[name] for s in self._seen.sessions()[name]}
        known = {origin for origin in self.names if name in graph.spread(origin)}
        return sessions, known

    def unreached(self, excused: frozenset[str] = frozenset()) -> set[str]:
        """Nodes that miss a route, by the objects as they are; routes of and on `excused` aside."""
        cut = Graph.of(self.layout()).cut_off()
        return {n for origin, others in cut.items() if origin not in excused
                for n in others - excused}  # fmt: skip

    # -- the shell of a host

    def answer(self, host: str, command: str) -> tuple[bool, CommandOutput]:
        """What a node's shell gives for a command of the product."""
        text = shlex.split(command)[-1]
        if f"{MARK}journals" in text:
            lines = ["@@journal /var/lib/underlay/route_reflectors/journal.jsonl", *self.journal]
            return self._read(f"journals {host}", {"journals": lines if self.journal else []})
        if f"{MARK}protocols" in text:
            return self._bird(host)
        if "journal.jsonl" in text:
            line = next(word for word in shlex.split(text) if word.startswith('{"at"'))
            event = json.loads(line)["event"]
            done = self._call(f"journal:{event} {host}")
            if done:
                self.journal.append(line)
                self.events.append(event)
            return done, CommandOutput([])
        if "calicoctl" in command:
            return self.calicoctl and self._call(f"calicoctl {host}"), CommandOutput([])
        raise AssertionError(f"the world does not know this command: {text[:200]}")

    def _bird(self, host: str) -> tuple[bool, CommandOutput]:
        if not self.ssh:
            return self._read(f"bird {host}", {"protocols": [], "routes": []})
        sessions, known = self.bird(host)
        protocols = ["BIRD v0.3.3+birdv1.6.8 ready."]
        for address, up in sessions.items():
            state = "Established" if up else "Active"
            protocols += [
                f"Node_{address.replace('.', '_')} BGP      master   up     10:00:00    {state}",
                f"  BGP state:          {state}", f"    Neighbor address: {address}",
            ]  # fmt: skip
        source = f"Node_{next(iter(sessions), 'x').replace('.', '_')}"
        routes = ["BIRD v0.3.3+birdv1.6.8 ready."]
        routes += [f"{self.block(n)} via 192.0.2.9 on eth0 [{source} 10:00:00] * (100/0) [i]"
                   for n in sorted(known)]  # fmt: skip
        routes.append(f"{self.block(host)} blackhole [static1 10:00:00] * (200)")
        return self._read(f"bird {host}", {"protocols": protocols, "routes": routes})

    def block(self, name: str) -> str:
        """The pod block of a node."""
        number = self.names.index(name) + 1
        return f"10.244.{number // 256}.{number % 256}/32"

    def _read(self, call: str, readings: dict[str, list[str]]) -> tuple[bool, CommandOutput]:
        if not self._call(call):
            return False, CommandOutput([OutputLine("stderr", "refused")])
        lines = [line for name, found in readings.items() for line in (f"{MARK}{name}", *found)]
        return True, CommandOutput([OutputLine("stdout", line) for line in (*lines, f"{MARK}end")])

    # -- the API server

    def version(self) -> str:
        """The server's version."""
        return "v1.33.1"

    def request(self, method: str, path: str, **given: Any) -> tuple[int, str]:
        """Discovery, and evictions."""
        self._api(f"{method} {path}")
        if path.endswith("/eviction"):
            del self.objects["Pod", path.split("/")[-2]]
            return 201, "{}"
        if path.removeprefix("/apis/") not in self.served:
            return 404, "{}"
        names = ("bgppeers", "bgpconfigurations", "caliconodestatuses")
        return 200, json.dumps({"resources": [{"name": name} for name in names]})

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object."""
        self._api(f"find:{kind.name} {name}")
        found = copy.deepcopy(self.objects.get((kind.name, name)))
        if found is not None and kind.name == "CalicoNodeStatus":
            found["status"] = self._status(found["spec"]["node"])
        return found

    def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """All objects of a kind."""
        self._api(f"list:{kind.name} {fields}".rstrip())
        found = [o for (name, _), o in self.objects.items() if name == kind.name]
        if kind is POD:
            node = fields.partition("=")[2]
            found = [pod for pod in found if pod["spec"]["nodeName"] == node]
        return copy.deepcopy(found)

    def create(self, kind: Kind, found: dict[str, Any], namespace: str | None = None) -> Any:
        """Make one, or answer whether something is allowed."""
        if kind is ACCESS_REVIEW:
            wanted = found["spec"]["resourceAttributes"]
            return {"status": {"allowed": not self.refuse(f"may {wanted['resource']}")}}
        name = found["metadata"]["name"]
        self._api(f"create:{kind.name} {name}")
        if (kind.name, name) in self.objects:
            raise ClusterError(f"{kind.name} {name}: cannot create it (409)")
        self._write(kind, name, copy.deepcopy(found))
        return copy.deepcopy(self.objects[kind.name, name])

    def merge(
        self, kind: Kind, name: str, change: dict[str, Any], namespace: str | None = None
    ) -> Any:
        """RFC 7396, unless somebody else has written since."""
        self._api(f"merge:{kind.name} {name}")
        found = copy.deepcopy(self.objects[kind.name, name])
        wanted = change.get("metadata", {}).get("resourceVersion")
        assert wanted in (None, found["metadata"].get("resourceVersion"))
        self._write(kind, name, _merged(found, change))
        return copy.deepcopy(self.objects[kind.name, name])

    def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, uid: str = "",
        version: str = "",
    ) -> None:  # fmt: skip
        """Delete one, of this version only; what is gone is fine."""
        self._api(f"delete:{kind.name} {name}")
        there = self.objects.get((kind.name, name), {"metadata": {}})["metadata"]
        if version and there.get("resourceVersion") != version:
            return
        if self.objects.pop((kind.name, name), None) is not None and kind not in (LEASE, POD):
            self.events.append(f"delete {kind.name} {name}")

    def _write(self, kind: Kind, name: str, found: dict[str, Any]) -> None:
        self.revision += 1
        found["metadata"]["resourceVersion"] = str(self.revision)
        old = self.objects.get((kind.name, name), {})
        self.objects[kind.name, name] = found
        if kind is LEASE or kind.name == "CalicoNodeStatus":
            return
        event = f"put {kind.name} {name}"
        if kind.name == "BGPConfiguration":
            event = f"mesh {str(found['spec']['nodeToNodeMeshEnabled']).lower()}"
        elif kind is NODE and old.get("spec") != found["spec"]:
            event = f"{'cordon' if found['spec'].get('unschedulable') else 'uncordon'} {name}"
        self.events.append(event)

    def _status(self, node: str) -> dict[str, Any]:
        sessions, known = self.bird(node)
        peers = [
            {"peerIP": address, "type": "NodePeer", "state": "Established" if up else "Idle"}
            for address, up in sessions.items()
        ]
        learned = [
            {"type": "FIB", "destination": self.block(n), "learnedFrom": {"sourceType": "BGPPeer"}}
            for n in known
        ]
        own = {"type": "FIB", "destination": self.block(node),
               "learnedFrom": {"sourceType": "Static"}}  # fmt: skip
        return {
            "lastUpdated": "2026-01-01T00:00:00Z", "bgp": {"peersV4": peers},
            "routes": {"routesV4": [*learned, own]},
        }  # fmt: skip

    def _api(self, call: str) -> None:
        if not self._call(call):
            raise ClusterError(f"Kubernetes API: refused ({call})")

    def _call(self, call: str) -> bool:
        self.calls.append(call)
        self.dead = self.dead or (self.power is not None and len(self.calls) > self.power)
        if self.dead:
            raise Killed(call)
        return not self.refuse(call)

    # -- what a test does and asks

    def pod(self, node: str, name: str, **spec: Any) -> None:
        """Put a pod on a node."""
        self.objects["Pod", name] = {
            "metadata": {"name": name, "namespace": "default",
                         "ownerReferences": [{"kind": "ReplicaSet"}]},
            "spec": {"nodeName": node, **spec}, "status": {"phase": "Running"},
        }  # fmt: skip

    @property
    def mesh(self) -> bool:
        """Whether the mesh is on."""
        return self.layout().mesh

    @property
    def reflectors(self) -> dict[str, str]:
        """Node to cluster id."""
        return {node.name: node.cluster_id for node in self.layout().nodes if node.cluster_id}

    @property
    def objects_of_bgp(self) -> dict[str, Any]:
        """All that a conversion may change, without versions."""
        found = {}
        for (kind, name), entry in self.objects.items():
            if kind == "Node":
                meta = entry["metadata"]
                found[name] = (meta["annotations"], meta["labels"], entry["spec"])
            elif kind in ("BGPPeer", "BGPConfiguration"):
                found[f"{kind} {name}"] = entry["spec"]
        return found


class _Quiet:
    """The same cluster, asked by a test: nothing is counted and nothing fails."""

    def __init__(self, world: Calico) -> None:
        self._world = world

    def list(self, kind: Kind, *_: object, **__: object) -> list[dict[str, Any]]:
        """All objects of a kind."""
        return [o for (name, _), o in self._world.objects.items() if name == kind.name]

    def find(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """One object."""
        return self._world.objects.get((kind.name, name))


def _merged(found: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    for key, value in change.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            found[key] = _merged(dict(found.get(key) or {}), value)
        else:
            found[key] = value
    return found
