"""From settings, readings and what agents said to the scene that checks look at. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from underlay.facts.node import Node
from underlay.features.calls import ends_link, in_overlay, overlay_address
from underlay.features.kernel_modules.settings import SETS, KernelModules
from underlay.features.preflight.agent import Arrival, Row, Started
from underlay.features.preflight.changes import modules_for
from underlay.features.preflight.plan import Plan
from underlay.features.preflight.ports import ICMP
from underlay.features.preflight.scene import Clock, DnsAnswer, Flow, Host, PathMtu, Probes
from underlay.features.preflight.settings import Preflight
from underlay.features.sysctl.settings import Sysctl
from underlay.settings import HostSettings
from underlay.settings.network import Network


@dataclass
class Heard:
    """What was heard of one host so far. times: of this computer, around the start."""

    facts: Node | None = None
    lost: str = ""
    unprobed: str = ""
    started: Started | None = None
    times: tuple[float, float] = (0.0, 0.0)
    rows: list[Row] | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    leftover: bool = False


def host_of(settings: HostSettings, change: str, login: str) -> Host:
    """What the settings say of one host. login: the address that SSH uses, or ""."""
    sysctls = {
        key: f">={wanted.value}" if wanted.at_least and wanted.value != "auto" else wanted.value
        for key, wanted in settings.section(Sysctl).wanted().items()
    }
    network, over = settings.section(Network), overlay_address(settings)
    own = network.address if network.address != over else None
    return Host(
        settings.name, settings.groups, network, settings.section(Preflight),
        needed_modules(settings, change), sysctls, own or login, over=over,
    )  # fmt: skip


def needed_modules(settings: HostSettings, change: str) -> tuple[str, ...]:
    """Declared modules, and those that the CNI, the tunnels and the change need."""
    network = settings.section(Network)
    found = [*settings.section(KernelModules).wanted(), *modules_for(change)]
    if network.cni == "flannel":
        found.append("br_netfilter")
    if network.cni != "none":
        found += SETS.get(network.encapsulation.removesuffix("-cross-subnet"), ())
    if in_overlay(settings):
        found += SETS["wireguard"]
    if ends_link(settings):
        found += SETS["ipsec"]
    return tuple(dict.fromkeys(found))


def dns_questions(host: Host, facts: Node) -> list[tuple[str, str, str]]:
    """(way, server, name) that one node asks."""
    wanted = host.preflight.dns
    asked = [(server, name) for server in facts.resolvers for name in wanted.outside]
    if wanted.server:
        asked += [(wanted.server, name) for name in wanted.cluster]
    return [(way, server, name) for server, name in asked for way in ("udp", "tcp")]


def served(plan: Plan, heard: Mapping[str, Heard]) -> list[tuple[int, str, int]]:
    """Ports that are only connected to: (number of the node, protocol, port).

    A program of the node has them, or its agent listens and cannot echo.
    """
    return [
        (number, protocol, port)
        for number, name in enumerate(plan.targets)
        for (protocol, port), state in _states(heard[name]).items()
        if state in ("served", "connect-only")
    ]


def finished(host: Host, heard: Heard) -> Host:
    """The host with all that was heard of it."""
    clock = None
    if heard.started is not None:
        sent, back = heard.times
        clock = Clock(
            heard.started.clock - (sent + back) / 2,
            (back - sent + heard.started.grain) / 2,
            heard.started.synchronised,
        )
    return replace(
        host, facts=heard.facts, lost=heard.lost, clock=clock, unprobed=heard.unprobed,
        leftover=heard.leftover, tool=heard.started.tool if heard.started else "",
    )  # fmt: skip


def probes(plan: Plan, heard: Mapping[str, Heard], hosts: Mapping[str, Host]) -> Probes:
    """What the agents saw. Flows of a lost node are left out: its own row explains them."""
    names = list(plan.targets)
    there = {name for name in names if heard[name].rows is not None and not heard[name].lost}
    came = _arrived(names, heard)
    flows: list[Flow] = []
    mtus: list[PathMtu] = []
    dns: list[DnsAnswer] = []
    for name in (name for name in names if name in there):
        for row in heard[name].rows or ():
            if row.kind == "dns":
                dns.append(_dns(hosts[name], row))
                continue
            peer = names[int(row.peer)]
            if peer not in there:
                continue
            if row.kind == "mtu":
                size = int(row.detail) if row.detail.isdigit() else 0
                six = row.protocol == "icmp6" or ":" in plan.targets[name].address
                mtus.append(
                    PathMtu(name, peer, size, int(row.extra[1]), row.detail, 6 if six else 4)
                )
            else:
                found = _flow(name, peer, row, came, _states(heard[peer]))
                flows.append(_way(plan, found))
    flows += _untried(plan, there)
    order = {name: number for number, name in enumerate(names)}
    turn = {(use.protocol, use.port): number for number, use in enumerate(plan.uses)}
    flows.sort(
        key=lambda f: (order[f.source], order[f.target], turn.get((f.protocol, f.port), -1), f.size)
    )
    mtus.sort(key=lambda m: (m.family, order[m.source], order[m.target]))
    uses = {(use.protocol, use.port): use.why for use in plan.uses}
    pairs = tuple(pair for pair in plan.pairs if set(pair) <= there)
    return Probes(tuple(flows), tuple(mtus), tuple(dns), pairs, uses, plan.seed)


def _way(plan: Plan, flow: Flow) -> Flow:
    """With whether it is beneath the overlay, and whether a NAT on its way is declared."""
    for use in plan.uses:
        if (use.protocol, use.port) == (flow.protocol, flow.port):
            call = use.call(flow.source, flow.target)
            if call is not None:
                return replace(flow, beneath=use.beneath, translated=call.translated)
    return flow


def _untried(plan: Plan, there: Collection[str]) -> Iterator[Flow]:
    """What will be used and no probe can stand for."""
    for use in plan.uses:
        for call in plan.untried(use):
            if {call.source, call.target} <= set(there):
                why = f"not tried: {call.untried}"
                yield Flow(call.source, call.target, use.protocol, use.port, "unknown", why)


Arrived = Mapping[tuple[str, str, str, int], Arrival]


def _arrived(names: Sequence[str], heard: Mapping[str, Heard]) -> Arrived:
    """(source, target, protocol, port) -> what the target's listener got."""
    return {
        (names[arrival.source], target, arrival.protocol, arrival.port): arrival
        for target in names
        for arrival in heard[target].arrivals
        if arrival.source < len(names)
    }


def _states(heard: Heard) -> Mapping[tuple[str, int], str]:
    return heard.started.states if heard.started is not None else {}


def _flow(
    source: str, target: str, row: Row, came: Arrived, states: Mapping[tuple[str, int], str]
) -> Flow:
    port = int(row.port)
    state = states.get((row.protocol, port), "listening")
    size = int(row.extra) if row.protocol not in ("tcp", *ICMP) else 64
    verdict, detail = row.verdict, row.detail
    arrival = came.get((source, target, row.protocol, port))
    if verdict != "open" and state.startswith("cannot listen"):
        verdict, detail = "unknown", state
    elif verdict == "timeout" and arrival is not None and arrival.largest >= size:
        # a reply of such a protocol is a packet of the other direction, which has a row of its own
        verdict = "open" if row.protocol in ("ipip", "esp") else "reply-lost"
    return Flow(
        source, target, row.protocol, port, verdict, "" if verdict == "open" else detail, size,
        arrival.address if arrival else "", state == "served",
    )  # fmt: skip


def _dns(host: Host, row: Row) -> DnsAnswer:
    server, name = str(row.peer), str(row.port)
    kind = "cluster" if server == host.preflight.dns.server else "outside"
    return DnsAnswer(host.name, server, name, kind, row.protocol, row.verdict, row.detail)


def groups_of(hosts: Iterable[HostSettings]) -> dict[str, list[str]]:
    """Group -> its hosts, in inventory order."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        for group in host.groups:
            found.setdefault(group, []).append(host.name)
    return found
