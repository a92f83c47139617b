"""A cluster without machines: what kubelets, kube-proxies and the API server would do.

The rule: nothing of the product is replaced but its two ways out, the shell of a host and the API
server; both count their calls, and any of them can be made to fail.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

import gevent
import pyinfra
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State, StateStage
from pyinfra.connectors.util import CommandOutput, OutputLine
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state

from underlay.cluster.objects import (
    ACCESS_REVIEW,
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINTS,
    LEASE,
    NODE,
    POD,
    SERVICE,
    Kind,
)
from underlay.errors import ClusterError
from underlay.facts.script import MARK

IPTABLES = "kind: KubeProxyConfiguration\nmode: ''\nipvs:\n  scheduler: ''\n"
#: kubeadm's DaemonSet as far as it matters.
PROXY: dict[str, Any] = {
    "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "kube-proxy",
                        "command": ["kube-proxy", "--config=/var/lib/kube-proxy/config.conf"],
                        "volumeMounts": [{"name": "p", "mountPath": "/var/lib/kube-proxy"}],
                    }
                ],
                "volumes": [{"name": "p", "configMap": {"name": "kube-proxy"}}],
            }
        }
    },
}
ECHO = "default/echo TCP 80 from node"


class Killed(Exception):  # noqa: N818 - it is no error of the product
    """This computer lost its power: no call after this one is answered."""


@dataclass
class Node:
    """One node: its journal, and what its kube-proxy does.

    silent: how often it is still asked for its mode before it answers; cordoned, marks: what its
    object in the API says; apps, gone: pods that a drain moves, and numbers of those moved.
    """

    name: str
    address: str
    mode: str = "iptables"
    pod: int = 1
    journal: list[str] = field(default_factory=list)
    leftovers: bool = False
    silent: int = 0
    cordoned: bool = False
    marks: dict[str, str] = field(default_factory=dict)
    apps: int = 0
    gone: set[int] = field(default_factory=set)
    modules: frozenset[str] = frozenset({"ip_vs", "ip_vs_rr", "nf_conntrack", "nf_tables"})


class Clock:
    """Time that passes only while somebody sleeps. ahead: seconds that its date was set by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ahead = 0.0

    def monotonic(self) -> float:
        """Seconds so far."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Pass at once."""
        self.now += seconds

    def time(self) -> float:
        """The date, which anybody may set."""
        return 1.8e9 + self.now + self.ahead

    def calendar(self) -> type[datetime]:
        """The `datetime` of a module, by this clock."""
        clock = self

        class Dated(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Dated:
                return cls.fromtimestamp(clock.time(), tz)

        return Dated


class World:
    """Nodes and an API server.

    refuse: called with the name of every call as `kind host`, for example `journal:switched n1`;
    True makes that call fail. calls: those names, in order. power: for how many calls it lasts.
    holder: of the lease, renewed `renewals` times; denied: `verb resource` that the user may not
    do; silence: how often a kube-proxy that was restarted is asked before it answers.
    """

    def __init__(self, names: list[str]) -> None:
        self.nodes = {
            name: Node(name, f"192.0.2.{index % 250}") for index, name in enumerate(names)
        }
        self.config = IPTABLES
        self.revision = 1
        self.annotations: dict[str, str] = {}
        self.calls: list[str] = []
        self.refuse: Callable[[str], bool] = lambda call: False
        self.dead = False
        self.power: int | None = None
        self.holder: str | None = None
        self.renewals = 1
        self.silence = 0
        self.clock = Clock()
        self.denied: frozenset[str] = frozenset()

    # -- the shell of a host

    def answer(self, host: str, command: str) -> tuple[bool, CommandOutput]:
        """What a node's shell gives for a command of the product."""
        node = self.nodes[host]
        text = shlex.split(command)[-1]
        if "/proc/net/ip_vs" in text and MARK in text:
            return self._read(f"node {host}", lambda: self._node(node))
        if f"{MARK}probes" in text:
            return self._read(f"probes {host}", lambda: {"probes": self._probes(node, text)})
        if f"{MARK}started" in text:
            return self._read(f"watch {host}", lambda: {"started": ["started"]})
        if f"{MARK}watched" in text:
            seen = {"target": "TCP/10.96.0.1/80", "tries": 9, "failed": 0, "longest_gap_ms": 110}
            return self._read(f"seen {host}", lambda: {"watched": [json.dumps([seen])]})
        if "proxyMode" in text:
            return self._read(f"mode {host}", lambda: {"mode": [_mode(node)]})
        if "journal.jsonl" in text:
            line = next(word for word in shlex.split(text) if word.startswith('{"at"'))
            done = self._call(f"journal:{json.loads(line)['event']} {host}")
            if done:
                node.journal.append(line)
            return done, CommandOutput([])
        if "kube-ipvs0" in text:
            done = self._call(f"clean {host}")
            node.leftovers = node.leftovers and not done
            return done, CommandOutput([])
        raise AssertionError(f"the world does not know this command: {text[:200]}")

    def _read(
        self, call: str, readings: Callable[[], dict[str, list[str]]]
    ) -> tuple[bool, CommandOutput]:
        if not self._call(call):
            return False, CommandOutput([OutputLine("stderr", "refused")])
        lines = [line for name, found in readings().items() for line in (f"{MARK}{name}", *found)]
        return True, CommandOutput([OutputLine("stdout", line) for line in (*lines, f"{MARK}end")])

    def _node(self, node: Node) -> dict[str, list[str]]:
        ipvs = node.mode == "ipvs" or node.leftovers
        stale = ["iptables filter KUBE-NODE-PORT"] if node.leftovers and node.mode != "ipvs" else []
        return {
            "mode": [_mode(node)],
            "table": ["TCP  0A600001:0050 rr"] if ipvs else [],
            "device": ["9: kube-ipvs0    inet 10.96.0.1/32 scope global"] if ipvs else [],
            "link": ["9: kube-ipvs0: <BROADCAST,NOARP>"] if ipvs else [],
            "local": [f"2: eth0    inet {node.address}/24 scope global eth0"],
            "sets": ["KUBE-CLUSTER-IP"] if ipvs else [],
            "tables": [],
            "chains": stale,
            "policies": ["-P INPUT ACCEPT", "-P FORWARD ACCEPT"],
            "tools": ["ipvsadm", "ipset", "python3"],
            "image": ["ipset", "nft"],
            "kernel": ["6.1.0-1-amd64"],
            "dns": [],
            "loaded": sorted(node.modules),
            "there": sorted(node.modules),
            "would": [],
            "journal": node.journal,
        }

    def _probes(self, node: Node, text: str) -> list[str]:
        worse = node.mode != "iptables" and self.refuse(f"traffic {node.name}")
        return [*([] if worse else ["0 open"]), "1 open", "end"]

    # -- the API server

    def version(self) -> str:
        """The server's version."""
        return "v1.33.1"

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        """One object."""
        self._api(f"get:{kind.name} api")
        if kind is NODE:
            node = self.nodes[name]
            meta = {"name": name, "annotations": dict(node.marks)}
            return {"metadata": meta, "spec": {"unschedulable": node.cordoned}}
        assert kind is CONFIG_MAP
        return {
            "metadata": {
                "name": name,
                "resourceVersion": str(self.revision),
                "annotations": dict(self.annotations),
            },
            "data": {"config.conf": self.config},
        }

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The lease of a run."""
        self._api(f"find:{kind.name} api")
        assert kind is LEASE
        if self.holder is None:
            return None
        return self._lease()

    def _lease(self) -> dict[str, Any]:
        spec = {"holderIdentity": self.holder, "renewTime": "then"}
        return {"metadata": {"resourceVersion": str(self.renewals), "uid": "u"}, "spec": spec}

    def create(
        self, kind: Kind, found: dict[str, Any], namespace: str | None = None
    ) -> dict[str, Any]:
        """A lease, or the question whether something is allowed."""
        if kind is ACCESS_REVIEW:
            wanted = found["spec"]["resourceAttributes"]
            denied = f"{wanted['verb']} {wanted['resource']}" in self.denied
            return {"status": {"allowed": not denied}}
        self._api(f"create:{kind.name} api")
        assert kind is LEASE
        self.holder = found["spec"]["holderIdentity"]
        return self._lease()

    def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """Nodes, kube-proxy and its pods, one Service with endpoints."""
        self._api(f"list:{kind.name} api")
        if kind is POD:
            wanted = fields.partition("=")[2]
            there = [n for n in self.nodes.values() if wanted in ("", n.name)]
            apps = [_app(n, number) for n in there for number in range(n.apps)
                    if number not in n.gone]  # fmt: skip
            return [*map(self._pod, there), *(apps if namespace is None else [])]
        if kind is NODE:
            return [
                {
                    "metadata": {"name": n.name},
                    "status": {"addresses": [{"type": "InternalIP", "address": n.address}]},
                }
                for n in self.nodes.values()
            ]
        if kind in (DAEMON_SET, DEPLOYMENT):
            return [PROXY] if kind is DAEMON_SET else []
        meta = {"namespace": "default", "name": "echo"}
        if kind is SERVICE:
            port = {"protocol": "TCP", "port": 80}
            return [{"metadata": meta, "spec": {"clusterIP": "10.96.0.1", "ports": [port]}}]
        assert kind is ENDPOINTS
        return [{"metadata": meta, "subsets": [{"addresses": [{"ip": "10.1.1.1"}]}]}]

    def merge(
        self, kind: Kind, name: str, change: dict[str, Any], namespace: str | None = None
    ) -> dict[str, Any]:
        """Write the ConfigMap, unless somebody else has since; or renew a lease."""
        if kind is NODE:
            node = self.nodes[name]
            self._api(f"{'cordon' if change['spec']['unschedulable'] else 'uncordon'} {name}")
            node.cordoned = bool(change["spec"]["unschedulable"])
            for mark, text in change["metadata"]["annotations"].items():
                node.marks.pop(mark, None)
                if text is not None:
                    node.marks[mark] = text
            return change
        self._api(f"merge:{kind.name} api")
        if kind is LEASE:
            assert change["metadata"]["resourceVersion"] == str(self.renewals)
            self.renewals += 1
            self.holder = change["spec"]["holderIdentity"]
            return self._lease()
        assert change["metadata"]["resourceVersion"] == str(self.revision)
        self.config = change["data"]["config.conf"]
        for key, value in change["metadata"]["annotations"].items():
            self.annotations.pop(key, None)
            if value is not None:
                self.annotations[key] = value
        self.revision += 1
        return self.get(kind, name, namespace)

    def request(self, method: str, path: str, *, body: dict[str, Any]) -> tuple[int, str]:
        """An eviction."""
        name = path.split("/")[-2]
        assert (method, path.rsplit("/", maxsplit=1)[-1]) == ("POST", "eviction")
        assert body["apiVersion"] == "policy/v1"
        _, short, number = name.split("-")
        node = next(n for n in self.nodes.values() if n.name.endswith(f"/{short}"))
        self._api(f"evict {node.name}")
        if self.refuse(f"budget {node.name}"):
            return 429, ""
        node.gone.add(int(number))
        return 201, ""

    def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, uid: str = "",
        version: str = "",
    ) -> None:  # fmt: skip
        """A deleted kube-proxy pod comes back and takes up what the ConfigMap says."""
        if kind is LEASE:
            self._api("delete:Lease api")
            if version == str(self.renewals):
                self.holder = None
            return
        node = self.nodes[name.removeprefix("kube-proxy-")]
        self._api(f"delete:Pod {node.name}")
        if uid != f"{node.name}-{node.pod}":
            return
        if self.refuse(f"pod {node.name}"):
            # it stays for ever in Terminating
            return
        node.pod += 1
        node.silent = self.silence
        old, node.mode = node.mode, "ipvs" if "mode: ipvs" in self.config else "iptables"
        node.leftovers = node.leftovers or old == "ipvs"
        if self.refuse(f"start {node.name}"):
            node.mode = ""

    def _pod(self, node: Node) -> dict[str, Any]:
        return {
            "metadata": {
                "name": f"kube-proxy-{node.name}",
                "uid": f"{node.name}-{node.pod}",
                "ownerReferences": [{"kind": "DaemonSet", "name": "kube-proxy"}],
            },
            "spec": {"nodeName": node.name},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }

    def _api(self, call: str) -> None:
        if not self._call(call):
            raise ClusterError(f"Kubernetes API: refused ({call})")

    def _call(self, call: str) -> bool:
        self.calls.append(call)
        self.dead = self.dead or (self.power is not None and len(self.calls) > self.power)
        if self.dead:
            raise Killed(call)
        return not self.refuse(call)

    # -- what a test asks

    @property
    def modes(self) -> set[str]:
        """The modes of all nodes."""
        return {node.mode for node in self.nodes.values()}


def _app(node: Node, number: int) -> dict[str, Any]:
    owners = [{"kind": "ReplicaSet", "name": "app"}]
    meta = {
        "name": f"app-{node.name.rpartition('/')[2]}-{number}",
        "namespace": "default",
        "ownerReferences": owners,
    }
    return {"metadata": meta, "spec": {"nodeName": node.name}}


def _mode(node: Node) -> str:
    node.silent = max(0, node.silent - 1)
    return "" if node.silent else node.mode


@contextmanager
def _as_command_line() -> Iterator[None]:
    """Only for its command line does pyinfra order operations by where they stand in the code."""
    pyinfra.is_cli = True
    try:
        yield
    finally:
        pyinfra.is_cli = False


def _planned(state: State, deploy: Callable[[], object], *, at_once: bool) -> None:
    def one(host: Host) -> None:
        with ctx_config.use(state.config.copy()), ctx_host.use(host):
            deploy()

    if not at_once:
        for host in state.inventory:
            one(host)
        return
    running = [gevent.spawn(one, host) for host in state.inventory]
    gevent.joinall(running, raise_error=True)


@dataclass
class Run:
    """What a run of a deploy ended with: failed hosts, and how many operations were run."""

    failed: set[str]
    operations: int


def run(world: World, deploy: Callable[[], object], settings: dict[str, object]) -> Run:
    """Run one deploy on every node, as `pyinfra inventory.py deploys/x.py` does."""
    return run_on(list(world.nodes), deploy, {"kube_proxy": settings})


def run_on(
    names: list[str],
    deploy: Callable[[], object],
    settings: dict[str, object],
    own: dict[str, dict[str, object]] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    at_once: bool = False,
    dry: bool = False,
) -> Run:
    """The same on any hosts; settings: section -> its values, the same for all of them.

    own: host -> what it has in place of that; groups: name -> hosts; at_once: plan all of them at
    the same time, as the command line does, and not one after the other; dry: plan only.
    """
    data = {**settings, "fake_delay": 0, "fake_delay_jitter": 0}
    hosts: list[tuple[str, dict[str, object]]] = [
        (name, (own or {}).get(name, {})) for name in names
    ]
    members: dict[str, Any] = {name: (list(found), {}) for name, found in (groups or {}).items()}
    inventory = Inventory((hosts, data), **members)  # type: ignore[no-untyped-call]
    state = State()
    config = Config()  # type: ignore[no-untyped-call]
    state.init(inventory, config)
    with ctx_state.use(state), ctx_config.use(config), ctx_inventory.use(inventory):
        state.set_stage(StateStage.Connect)
        connect_all(state)
        state.set_stage(StateStage.Prepare)
        with _as_command_line():
            _planned(state, deploy, at_once=at_once)
        if not dry:
            state.set_stage(StateStage.Execute)
            # with no host left it raises, which is a failed run as any other
            with suppress(PyinfraError):
                run_ops(state)
    return Run(
        failed={host.name for host in state.failed_hosts},
        operations=sum(len(state.ops[host]) for host in inventory),
    )
