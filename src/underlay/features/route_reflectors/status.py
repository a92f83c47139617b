"""The sessions of every node: from BIRD on the node, or by CalicoNodeStatus, found out by itself.

The rule: CalicoNodeStatus is for debugging and makes calico-node work, so few nodes are asked at a
time and the objects go when they are read (Calico's reference says: fewer than about ten).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gevent.pool import Pool
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from underlay.cluster import Api, Object
from underlay.errors import ClusterError
from underlay.facts.bird import Bird, Reading
from underlay.features.route_reflectors.store import STORAGE, V3, kind, served
from underlay.operations.kube_proxy import POLL

#: Nodes asked by CalicoNodeStatus at a time, and how long calico-node may take to answer.
BATCH, ANSWER_SECONDS = 8, 30.0
#: Hosts read over SSH at a time.
AT_ONCE = 32

_PREFIX = "underlay-"


@dataclass
class Status:
    """Reads nodes.

    hosts: node to its host in this run; how: setting `status`; silent: nodes whose BIRD did not
    answer over SSH, which are not asked that way again; version: of CalicoNodeStatus, "" when the
    API server has none, None before that is known.
    """

    state: State
    api: Api
    hosts: Mapping[str, Host]
    how: str = "auto"
    silent: set[str] = field(default_factory=set)
    version: str | None = None

    def read(self, nodes: Collection[str]) -> dict[str, Reading | None]:
        """Node to what it says; None when nothing can be learnt of it."""
        found: dict[str, Reading | None] = dict.fromkeys(nodes)
        if self.how != "calico-node-status":
            # where there is no other way, a BIRD that was silent once is asked again
            given_up = self.silent if self.version != "" else set()
            asked = [name for name in nodes if name in self.hosts and name not in given_up]
            for name, reading in self._by_ssh(asked):
                found[name] = reading
                if reading is None and self.how == "auto":
                    self.silent.add(name)
        left = [name for name in nodes if found[name] is None]
        if left and self.how != "birdcl":
            found.update(self._by_object(left))
        return found

    def told(self) -> str:
        """How the nodes are read, for people."""
        direct = len([name for name in self.hosts if name not in self.silent])
        if self.how == "calico-node-status":
            direct = 0
        return f"{direct} nodes by BIRD's socket, the others by CalicoNodeStatus"

    def _by_ssh(self, nodes: Sequence[str]) -> Iterable[tuple[str, Reading | None]]:
        def ask(name: str) -> tuple[str, Reading | None]:
            host = self.hosts[name]
            with suppress(PyinfraError), ctx_state.use(self.state), ctx_host.use(host):
                return name, get_fact(self.state, host, Bird, apply_failed_hosts=False) or None
            return name, None

        return list(Pool(AT_ONCE).imap_unordered(ask, nodes))

    def _by_object(self, nodes: Sequence[str]) -> dict[str, Reading | None]:
        if self.version is None:
            versions = (v for v in (V3, STORAGE) if served(self.api, v, "caliconodestatuses"))
            self.version = next(versions, "")
        if not self.version:
            return {}
        found = {}
        for start in range(0, len(nodes), BATCH):
            found.update(self._batch(nodes[start : start + BATCH]))
        return found

    def _batch(self, nodes: Sequence[str]) -> dict[str, Reading | None]:
        of = kind("CalicoNodeStatus", self.version or V3)
        names = {_PREFIX + node: node for node in nodes}
        try:
            for name, node in names.items():
                # one that a killed run left holds an old answer
                self.api.delete(of, name)
                spec = {"node": node, "classes": ["BGP", "Routes"], "updatePeriodSeconds": 1}
                self.api.create(of, {
                    "apiVersion": of.version, "kind": of.name, "metadata": {"name": name},
                    "spec": spec,
                })  # fmt: skip
            return _collect(names, lambda name: self.api.find(of, name))
        finally:
            for name in names:
                with suppress(ClusterError):
                    self.api.delete(of, name)


def _collect(
    names: Mapping[str, str], find: Callable[[str], Object | None]
) -> dict[str, Reading | None]:
    """Wait until calico-node has answered for every node, or the time is over."""
    deadline = time.monotonic() + ANSWER_SECONDS
    found: dict[str, Reading | None] = {}
    while len(found) < len(names):
        for name, node in names.items():
            status = (find(name) or {}).get("status") or {} if node not in found else {}
            told = all(isinstance(status.get(part), dict) for part in ("bgp", "routes"))
            if status.get("lastUpdated") and told:
                found[node] = reading(status)
        if time.monotonic() > deadline:
            break
        if len(found) < len(names):
            time.sleep(POLL)
    return found


def reading(status: Mapping[str, Any]) -> Reading:
    """What a CalicoNodeStatus says, in the terms of BIRD's own answer."""
    bgp, routes = status.get("bgp") or {}, status.get("routes") or {}
    peers = [*(bgp.get("peersV4") or []), *(bgp.get("peersV6") or [])]
    every = [*(routes.get("routesV4") or []), *(routes.get("routesV6") or [])]
    sources = [(r.get("destination"), (r.get("learnedFrom") or {}).get("sourceType"), r.get("type"))
               for r in every]  # fmt: skip
    return Reading(
        # every field is optional in the definition: a state that is not told is no Established
        sessions={p["peerIP"]: str(p.get("state") or "unknown") for p in peers if p.get("peerIP")},
        learned=frozenset(
            net for net, source, use in sources
            if net and source in ("NodeMesh", "BGPPeer") and use == "FIB"
        ),
        own=frozenset(net for net, source, _ in sources if net and source == "Static"),
    )  # fmt: skip
