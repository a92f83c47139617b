"""Scenes for tables of cases: three healthy nodes, and what a case changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from underlay.facts.kernel import ModuleState
from underlay.facts.node import Link, Neighbours, Node, Route
from underlay.facts.sysctl import Line
from underlay.features.preflight.scene import (
    Backup,
    Clock,
    ClusterView,
    DnsAnswer,
    Flow,
    Host,
    PathMtu,
    Probes,
    Scene,
)
from underlay.features.preflight.settings import Preflight
from underlay.settings.network import Network

NAMES = ("n0", "n1", "n2")
NOW = datetime(2027, 1, 1, tzinfo=timezone.utc)
PAIRS = tuple((a, b) for a in NAMES for b in NAMES if a != b)


def healthy() -> Scene:
    """Three nodes of a flannel cluster with nothing wrong."""
    hosts = {name: _host(number, name) for number, name in enumerate(NAMES)}
    flows = [Flow(a, b, "icmp", 0, "open") for a, b in PAIRS]
    flows += [Flow(a, b, "udp", 8472, "open", size=size) for a, b in PAIRS for size in (64, 1472)]
    flows += [Flow(a, b, "tcp", 10250, "open") for a, b in PAIRS]
    mtus = tuple(PathMtu(a, b, 1500, 1500, "1500") for a, b in PAIRS)
    dns = tuple(
        DnsAnswer(name, "192.0.2.53", "example.test", "outside", way, "open")
        for name in NAMES
        for way in ("udp", "tcp")
    )
    uses = {("udp", 8472): "flannel vxlan", ("tcp", 10250): "kubelet"}
    backup = Backup("network-backup", NOW, NAMES, (), 3)
    names = ("prometheuses.monitoring.coreos.com", "node-exporter", "kube-state-metrics")
    cluster = ClusterView("", names, "read")
    return Scene(hosts, Probes(tuple(flows), mtus, dns, PAIRS, uses), backup, "", NOW, cluster)


def _host(number: int, name: str) -> Host:
    address = f"192.0.2.{10 + number}"
    facts = Node(
        hostname=name, machine_id=f"{number + 1:032x}", product_uuid=f"uuid-{number}",
        release="6.1.0-40-amd64", distribution="debian", tools=("python3",),
        links=(Link("eth0", 1500, True, f"02:00:00:00:00:0{number + 1}"),
               Link("flannel.1", 1450, True, "02:11:00:00:00:01", "vxlan")),
        addresses={"eth0": (f"{address}/24",)}, routes=(Route("192.0.2.0/24", "eth0"),),
        default_device="eth0", modules={"br_netfilter": ModuleState.LOADED},
        sysctls={"net.ipv4.ip_forward": "1"}, resolvers=("192.0.2.53",),
        kubelet=("cgroupDriver: systemd",), containerd_systemd=True,
        hosts=(("127.0.0.1", ("localhost",)),), cni=("/etc/cni/net.d/10-flannel.conflist",),
        conntrack=(10, 1000), proxy_mode="iptables", flannel={"FLANNEL_MTU": "1450"},
        programs=frozenset({"chronyd"}), neighbours={4: Neighbours(1024, 9, 0)},
    )  # fmt: skip
    facts = replace(facts, lines=_lines())
    network = Network(cni="flannel", pod_cidr="10.244.0.0/16", service_cidr="10.96.0.0/12")
    return Host(
        name, ("control_plane" if number == 0 else "workers",), network,
        Preflight.model_validate({"dns": {"outside": ["example.test"]}}), ("br_netfilter",),
        {"net.ipv4.ip_forward": "1"}, address, facts, "", "python3 3.11", Clock(0.0, 0.05, True),
    )  # fmt: skip


def _lines() -> tuple[Line, ...]:
    return (Line("/etc/sysctl.d/90-underlay.conf", "net.ipv4.ip_forward", "1"),)


Change = Callable[[Scene], Scene]


def facts(name: str, **changes: Any) -> Change:
    """One node says something else."""

    def change(scene: Scene) -> Scene:
        host = scene.hosts[name]
        assert host.facts is not None
        return replace(
            scene, hosts={**scene.hosts, name: replace(host, facts=replace(host.facts, **changes))}
        )

    return change


def host(name: str, **changes: Any) -> Change:
    """One host is different."""

    def change(scene: Scene) -> Scene:
        return replace(scene, hosts={**scene.hosts, name: replace(scene.hosts[name], **changes)})

    return change


def network(**changes: Any) -> Change:
    """Every host's plan is different."""

    def change(scene: Scene) -> Scene:
        return replace(
            scene,
            hosts={
                n: replace(h, network=h.network.model_copy(update=changes))
                for n, h in scene.hosts.items()
            },
        )

    return change


def flows(where: Callable[[Flow], bool], **changes: Any) -> Change:
    """Some probes went otherwise."""

    def change(scene: Scene) -> Scene:
        found = tuple(replace(f, **changes) if where(f) else f for f in scene.probes.flows)
        return replace(scene, probes=replace(scene.probes, flows=found))

    return change


def probes(**changes: Any) -> Change:
    """The probes as a whole are different."""
    return lambda scene: replace(scene, probes=replace(scene.probes, **changes))


def mtus(sizes: Mapping[tuple[str, str], int], detail: str = "", family: int = 4) -> Change:
    """Some paths carry less."""

    def change(scene: Scene) -> Scene:
        found = tuple(
            replace(m, size=sizes.get((m.source, m.target), m.size), detail=detail)
            if m.family == family
            else m
            for m in scene.probes.mtus
        )
        return replace(scene, probes=replace(scene.probes, mtus=found))

    return change


def dns(where: Callable[[DnsAnswer], bool], verdict: str, detail: str = "") -> Change:
    """Some questions were answered otherwise."""

    def change(scene: Scene) -> Scene:
        found = tuple(
            replace(a, verdict=verdict, detail=detail) if where(a) else a for a in scene.probes.dns
        )
        return replace(scene, probes=replace(scene.probes, dns=found))

    return change


def dual_stack() -> Change:
    """Every node has a second address, and all of IPv6 works."""

    def change(scene: Scene) -> Scene:
        plan = {"pod_cidr_v6": "fd00:10:244::/56", "service_cidr_v6": "fd00:10:96::/112"}
        found = network(**plan)(scene)
        for number, name in enumerate(NAMES):
            address = f"2001:db8::1{number}"
            found = facts(
                name, neighbours={4: Neighbours(1024, 9, 0), 6: Neighbours(1024, 9, 0)},
                addresses={"eth0": (f"192.0.2.{10 + number}/24", f"{address}/64")},
                ipv6={"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.all.forwarding": "1"},
            )(host(name, second=address)(found))  # fmt: skip
        more = tuple(Flow(a, b, "icmp6", 0, "open") for a, b in PAIRS)
        six = tuple(PathMtu(a, b, 1500, 1500, "1500", 6) for a, b in PAIRS)
        tried = found.probes
        return replace(
            found, probes=replace(tried, flows=tried.flows + more, mtus=tried.mtus + six)
        )

    return change


def scene(**changes: Any) -> Change:
    """The scene as a whole is different."""
    return lambda found: replace(found, **changes)


def after(*changes: Change) -> Scene:
    """The healthy scene with changes applied."""
    found = healthy()
    for change in changes:
        found = change(found)
    return found
