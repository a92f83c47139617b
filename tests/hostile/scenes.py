"""Where the deploys of a section get as far as commands: a valid section, and hosts that behave.

The rule: a section whose deploys need a cluster, a key or another section to give a host a command
has its scene here; without one, any answer does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.fake import calico_cluster, test_flannel, test_ipsec, test_wireguard
from tests.fake.calico import Calico as Reflected
from tests.fake.world import Clock, World
from tests.hostile.hosts import Heard

from underlay.cluster import drain, lease
from underlay.features.calico import deploy as calico
from underlay.features.flannel import deploy as flannel
from underlay.features.preflight import gather
from underlay.features.route_reflectors import deploy as reflectors
from underlay.features.route_reflectors import proof, status, writes
from underlay.operations import cluster_objects, kube_proxy

Make = Callable[[int], World]


@dataclass
class Stage:
    """What a scene may use. folder: a directory of the test's own, in which the run works too."""

    patch: pytest.MonkeyPatch
    make_world: Make
    folder: Path

    def clock(self, *modules: Any) -> None:
        """No time passes in them."""
        clock = Clock()
        for module in modules:
            self.patch.setattr(module, "time", clock)


def _anything(stage: Stage) -> Heard:
    return Heard(stage.patch)


@dataclass(frozen=True)
class Scene:
    """base: a valid section; others: sections beside it; own: host -> its own; hosts: their names;
    play: sets them up.

    deploys: those that are run, all of the section's when there are none; silent: those of them
    that ask an API server first, which is not there.
    """

    base: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("@fake/n1", "@fake/n2")
    play: Callable[[Stage], Heard] = _anything
    deploys: tuple[str, ...] = ()
    silent: frozenset[str] = frozenset()


def _kube_proxy(stage: Stage) -> Heard:
    # of one node, because two may not have one name
    world = stage.make_world(1)
    heard = Heard(stage.patch)
    heard.answer = world.answer
    return heard


def _wireguard(stage: Stage) -> Heard:
    heard = Heard(stage.patch)
    heard.answer = test_wireguard.World().answer
    return heard


def _ipsec(stage: Stage) -> Heard:
    heard = Heard(stage.patch)
    world = test_ipsec.World()
    heard.answer = lambda host, text: world.answer(host, text, heard.stdin[host])
    stage.patch.setenv("TEST_PSK", test_ipsec.PSK)
    return heard


def _flannel(stage: Stage) -> Heard:
    world = test_flannel.Flannel()
    for number, name in enumerate(test_flannel.NAMES):
        world.cluster.put(
            {
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                "spec": {"podCIDR": f"10.244.{number}.0/24"},
            }
        )  # fmt: skip
    stage.patch.setattr(flannel, "api_of", lambda state, settings: world.cluster)
    stage.clock(cluster_objects, lease)
    heard = Heard(stage.patch)
    heard.answer = world.answer
    return heard


def _calico(stage: Stage) -> Heard:
    folder = stage.folder / MANIFESTS
    folder.mkdir(exist_ok=True)
    for name, found in FILES.items():
        (folder / name).write_text(found)
    world = calico_cluster.Calico()
    world.ready = {"files": ["10-calico.conflist"]}
    stage.patch.setattr(calico, "api_of", lambda state, settings: world.cluster)
    stage.clock(cluster_objects, lease)
    heard = Heard(stage.patch)
    heard.answer = world.answer
    return heard


def _reflectors(stage: Stage) -> Heard:
    world = Reflected(3)
    stage.patch.setattr(reflectors, "api_of", lambda state, settings: world)
    stage.clock(drain, proof, status, writes, kube_proxy, lease)
    heard = Heard(stage.patch)
    heard.answer = world.answer
    return heard


MANIFESTS = "manifests"
#: Name -> text of what a folder of manifests holds.
FILES = {
    "operator-crds.yaml": yaml.safe_dump_all(calico_cluster.DEFINITIONS),
    "tigera-operator.yaml": yaml.safe_dump_all(calico_cluster.OPERATOR),
}
_SUMS = {name: hashlib.sha256(found.encode()).hexdigest() for name, found in FILES.items()}
#: So that the nodes can be probed: one address each, on an interface.
_LINKS = [json.dumps([{"ifname": "eth0", "flags": ["UP"], "mtu": 1500}])]


def _preflight(stage: Stage) -> Heard:
    heard = Heard(stage.patch)
    for number, host in enumerate(("@fake/n1", "@fake/n2"), start=1):
        address = {"family": "inet", "local": f"192.0.2.{number}", "prefixlen": 24}
        ways = [{"ifname": "eth0", "addr_info": [address]}]
        heard.readings[host] = {"links": _LINKS, "addresses": [json.dumps(ways)]}
    stage.clock(gather)
    return heard


_GROUP = {"cluster_id": "244.0.0.1", "reflectors": ["@fake/n1", "@fake/n2"]}
SCENES: Mapping[str, Scene] = {
    "sysctl": Scene(base={"values": {"kernel.core_pattern": "core"}}),
    "kube_proxy": Scene(hosts=("@fake/n1",), play=_kube_proxy),
    "wireguard": Scene(
        base={"overlays": {"wg0": test_wireguard.OVERLAY}},
        hosts=(test_wireguard.HUB, test_wireguard.A, test_wireguard.B),
        play=_wireguard,
    ),
    "preflight": Scene(
        own={f"@fake/n{n}": {"network": {"address": f"192.0.2.{n}"}} for n in (1, 2)},
        play=_preflight,
    ),
    "ipsec": Scene(
        base={"links": {"a-b": test_ipsec.LINK}},
        hosts=(test_ipsec.A, test_ipsec.NODE, test_ipsec.B),
        play=_ipsec,
    ),
    "flannel": Scene(
        others={"network": test_flannel.NETWORK}, hosts=test_flannel.NAMES, play=_flannel
    ),
    "network": Scene(
        base=test_flannel.NETWORK, hosts=test_flannel.NAMES, play=_flannel, deploys=("flannel",)
    ),
    "cluster": Scene(
        silent=frozenset(
            {"proxy_mode", "proxy_rollback", "ipvs_migrate", "ipvs_rollback", "flannel", "calico",
             "route_reflectors"}
        )
    ),
    "calico": Scene(
        base={"manifests": MANIFESTS, "sums": _SUMS}, others={"network": calico_cluster.NETWORK},
        hosts=calico_cluster.NAMES, play=_calico,
    ),
    "route_reflectors": Scene(
        base={"groups": {"all": _GROUP}, "wait_seconds": 10},
        hosts=("@fake/n1", "@fake/n2", "@fake/n3"), play=_reflectors,
    ),
}  # fmt: skip
