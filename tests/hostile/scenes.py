"""Where the deploys of a section get as far as commands: a valid section, and hosts that behave.

The rule: a section whose deploys need a cluster, a key or another section to give a host a command
has its scene here; without one, any answer does.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyinfra.connectors.fake import FakeConnector
from tests.fake import calico_cluster, test_flannel, test_ipsec, test_wireguard
from tests.fake.calico import Calico as Reflected
from tests.fake.world import Clock, World, run
from tests.hostile.hosts import Heard
from tests.hostile.sandbox import DO

from underlay import journal
from underlay.cluster import drain, lease
from underlay.cluster.of_run import GROUP
from underlay.features.calico import deploy as calico
from underlay.features.flannel import deploy as flannel
from underlay.features.kube_proxy import deploy as kube_proxy_deploy
from underlay.features.preflight import gather
from underlay.features.route_reflectors import deploy as reflectors
from underlay.features.route_reflectors import proof, status, writes
from underlay.operations import cluster_objects, kube_proxy
from underlay.settings import Section

Make = Callable[[int], World]
HOSTS = ("@fake/n1", "@fake/n2")


@dataclass
class Stage:
    """What a scene may use.

    folder: a directory of the test's own, in which the run works too; kept: what took long to make.
    """

    patch: pytest.MonkeyPatch
    make_world: Make
    folder: Path
    kept: dict[str, World] = field(default_factory=dict)

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

    deploys: those that are run, all of the section's when there are none; reaches: deploy -> what
    stands in a command by which it changes a host; groups: name -> hosts.
    """

    base: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hosts: tuple[str, ...] = HOSTS
    play: Callable[[Stage], Heard] = _anything
    deploys: tuple[str, ...] = ()
    reaches: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


def _kube_proxy(stage: Stage) -> Heard:
    # of one node, because two may not have one name
    world = stage.make_world(1)
    heard = Heard(stage.patch)
    heard.answer = world.answer
    return heard


def _migrated(stage: Stage) -> Heard:
    """A node that runs ipvs, with all that the migration has left in its journal."""
    if "migrated" not in stage.kept:
        world = stage.kept["migrated"] = stage.make_world(1)
        assert run(world, kube_proxy_deploy.migrate_to_ipvs, {}).failed == set()
    before, world = stage.kept["migrated"], stage.make_world(1)
    world.nodes = copy.deepcopy(before.nodes)
    world.config, world.annotations = before.config, dict(before.annotations)
    assert world.modes == {"ipvs"}
    heard = Heard(stage.patch)
    heard.answer = world.answer
    return heard


def _entry(event: str, data: Mapping[str, object]) -> str:
    return journal.Entry("2026-01-02T03:04:05Z", "5f", event, data).line()


def _tuned(stage: Stage) -> Heard:
    """Hosts whose journal and whose file hold what nobody would let in by the inventory."""
    heard, key = Heard(stage.patch), "kernel.core_pattern"
    before = {key: f"$({DO})", f"net.$({DO})": f"';{DO};'"}
    for host in HOSTS:
        heard.readings[host] = {
            "journal": [_entry("snapshot", {"previous": before})],
            "ours": [f"{key} = `{DO}`"],
            "values": [f"/proc/sys/kernel/core_pattern:`{DO}`", f"/proc/sys/net/$({DO}):1"],
        }
    return heard


def _loaded(stage: Stage) -> Heard:
    heard = Heard(stage.patch)
    for host in HOSTS:
        heard.readings[host] = {
            "journal": [
                _entry("loaded", {"loaded": ["ip_vs", f"$({DO})", f"';{DO};'"]}),
                _entry("written", {"written": {"nf_conntrack.hashsize": f"`{DO}`"}}),
            ],
            "parameters": [f"nf_conntrack.hashsize $({DO})"],
            "files": [f"/etc/modules-load.d/90-underlay.conf:`{DO}`"],
        }
    return heard


def _wireguard(stage: Stage) -> Heard:
    heard = Heard(stage.patch)
    heard.answer = test_wireguard.World().answer
    return heard


def _overlaid(stage: Stage) -> Heard:
    """Members of an overlay that is up, with files beside ours that root has put there."""
    heard, hosts = Heard(stage.patch), (test_wireguard.HUB, test_wireguard.A, test_wireguard.B)
    world = test_wireguard.World(keys={host: f"key-of-{host}" for host in hosts})
    for host in hosts:
        world.readings[host] = {
            "files": ["wg0.env:PORT=51820", "wg0.peers:# end", f"$({_DO}).env:", "-Zq.env:PORT=1"],
            "units": ["wg0 enabled active active"],
            "links": ["5: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 state UNKNOWN"],
            "live": [f"link wg0 key-of-{host} 51820"],
            "journal": [_entry("applying", {"previous": {"net.ipv4.ip_forward": "0"}})],
        }
    heard.answer = world.answer
    return heard


def _linked(stage: Stage) -> Heard:
    """Ends of a link that is up, with files beside ours that root has put there."""
    heard, world = Heard(stage.patch), test_ipsec.World()
    for host in (test_ipsec.A, test_ipsec.NODE, test_ipsec.B):
        world.readings[host] = {
            "files": ["a-b.env:GATEWAY=1", f"`{_DO}`.env:", f"underlay-$({_DO}).conf:", "-Zq.env:"],
            "secrets": ["600 /etc/swanctl/conf.d/secret-underlay-a-b.conf"],
            "kept": ["a-b.new", f"$({DO})", "-Zq"],
            "units": ["enabled", "active"],
            "journal": [
                _entry("starting", {"previous": {"daemon": "inactive", "enabled": f"$({DO})"}}),
                _entry("applying", {"previous": {"net.ipv4.ip_forward": "0"}}),
            ],
        }
    heard.answer = lambda host, text: world.answer(host, text, heard.stdin[host])
    return heard


#: Without what ends the name of a file where grep prints it.
_DO = DO.removeprefix(":")


class _Client:
    """An SSH connection whose API server nobody asks for yet."""

    def get_transport(self) -> object:
        """Something through which a tunnel could go."""
        return self


def _control_plane(stage: Stage) -> Heard:
    """Hosts that are reached over SSH and have no admin.conf."""
    stage.patch.setattr(FakeConnector, "client", _Client(), raising=False)
    heard = _preflight(stage)
    for host in HOSTS:
        heard.readings[host]["kubelet"] = ["yes"]
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
    for number, host in enumerate(HOSTS, start=1):
        address = {"family": "inet", "local": f"192.0.2.{number}", "prefixlen": 24}
        ways = [{"ifname": "eth0", "addr_info": [address]}]
        heard.readings[host] = {"links": _LINKS, "addresses": [json.dumps(ways)]}
    stage.clock(gather)
    return heard


#: The same addresses, in the section that the CNI needs.
_PLACED = {
    host: {"network": {**test_flannel.NETWORK, "address": f"192.0.2.{number}"}}
    for number, host in enumerate(HOSTS, start=1)
}
_GROUP = {"cluster_id": "244.0.0.1", "reflectors": ["@fake/n1", "@fake/n2"]}
SCENES: Mapping[str, Scene] = {
    "sysctl": Scene(base={"values": {"kernel.core_pattern": "core"}}),
    "sysctl, taken out": Scene(
        base={"state": "absent"}, play=_tuned, reaches={"sysctl": "restored"}
    ),
    "kernel_modules": Scene(
        base={"modules": ["ip_vs"]}, reaches={"kernel_modules": "modprobe ip_vs"}
    ),
    "kernel_modules, taken out": Scene(
        base={"state": "absent"}, play=_loaded, reaches={"kernel_modules": "unloaded"}
    ),
    "kube_proxy": Scene(
        base={"mode": "ipvs"}, hosts=HOSTS[:1], play=_kube_proxy,
        deploys=("proxy_mode", "ipvs_migrate"), reaches=dict.fromkeys(
            ("proxy_mode", "ipvs_migrate"), "committed"
        ),
    ),
    "kube_proxy, back": Scene(
        hosts=HOSTS[:1], play=_migrated, deploys=("proxy_rollback", "ipvs_rollback"),
        reaches=dict.fromkeys(("proxy_rollback", "ipvs_rollback"), "kube-ipvs0"),
    ),
    "wireguard, taken out": Scene(
        base={"overlays": {"wg0": {**test_wireguard.OVERLAY, "state": "absent"}}},
        hosts=(test_wireguard.HUB, test_wireguard.A, test_wireguard.B),
        play=_overlaid, reaches={"wireguard": "underlay-wireguard down wg0"},
    ),
    "ipsec, taken out": Scene(
        base={"links": {"a-b": {**test_ipsec.LINK, "state": "absent"}}},
        hosts=(test_ipsec.A, test_ipsec.NODE, test_ipsec.B),
        play=_linked, reaches={"ipsec": "underlay-ipsec down a-b"},
    ),
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
        own=_PLACED, groups={GROUP: HOSTS[:1]}, play=_control_plane,
        deploys=("proxy_mode", "proxy_rollback", "ipvs_migrate", "ipvs_rollback", "flannel",
                 "preflight"),
        reaches=dict.fromkeys(
            ("proxy_mode", "proxy_rollback", "ipvs_migrate", "ipvs_rollback", "flannel"), "cat --"
        ),
    ),
    "cluster, with Calico": Scene(
        others={"network": {**calico_cluster.NETWORK, "bgp": True, "encapsulation": "none"},
                "route_reflectors": {"groups": {"all": _GROUP}}},
        groups={GROUP: HOSTS[:1]}, play=_control_plane, deploys=("calico", "route_reflectors"),
        reaches=dict.fromkeys(("calico", "route_reflectors"), "cat --"),
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


def scene_of(name: str) -> Scene:
    """The scene of that name; one in which any answer does, where none is needed."""
    return SCENES.get(name, Scene())


def scenes_of(section: type[Section]) -> list[str]:
    """Names of a section's scenes: its own, then those of the same section in another world."""
    return [section.KEY, *(name for name in SCENES if name.startswith(f"{section.KEY}, "))]
