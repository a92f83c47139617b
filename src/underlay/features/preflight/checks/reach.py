"""Checks of what nodes can send each other: ICMP, the port matrix, full-size datagrams, NAT."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.checks.model import Check, Finding, Severity, Status
from underlay.facts.node import interface
from underlay.features.preflight.blame import Item, causes
from underlay.features.preflight.ports import ICMP, label
from underlay.features.preflight.scene import Flow, Host, Scene
from underlay.features.preflight.words import VERDICTS, counted, listed

SMALL = 64


def _bad(flow: Flow) -> str:
    if flow.verdict in ("open", "unknown"):
        return ""
    text = VERDICTS.get(flow.verdict, flow.verdict)
    return f"{text} ({flow.detail})" if flow.detail else text


def _label(scene: Scene, flow: Flow) -> str:
    why = scene.probes.uses.get((flow.protocol, flow.port), "")
    name = label(flow.protocol, flow.port)
    return f"{name} ({why})" if why and "(" not in name else name


def _matrix(scene: Scene) -> list[Flow]:
    return [f for f in scene.probes.flows if f.protocol not in ICMP and f.size <= SMALL]


def dead_pairs(scene: Scene) -> frozenset[tuple[str, str]]:
    """Pairs on which nothing of the matrix works, in this direction."""
    tried: dict[tuple[str, str], list[bool]] = {}
    for flow in _matrix(scene):
        tried.setdefault((flow.source, flow.target), []).append(bool(_bad(flow)))
    return frozenset(pair for pair, bad in tried.items() if all(bad))


def _reachable(scene: Scene) -> Iterator[Finding]:
    flows = _matrix(scene)
    items = [Item(f.source, f.target, _label(scene, f), _bad(f)) for f in flows]
    for cause in causes(items):
        yield Finding(Status.FAIL, f"{cause.where}: {cause.bad}", cause.hosts)
    yield from _unknown(scene, flows)
    good = sum(flow.verdict == "open" for flow in flows)
    if good == len(flows) and flows:
        pairs = len({(flow.source, flow.target) for flow in flows})
        yield Finding(Status.PASS, f"{counted(good, 'probe')} over {counted(pairs, 'pair')}")


def _unknown(scene: Scene, flows: list[Flow]) -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[Flow]] = {}
    for flow in flows:
        if flow.verdict == "unknown":
            groups.setdefault((_label(scene, flow), flow.detail), []).append(flow)
    for (name, detail), found in groups.items():
        hosts = tuple(dict.fromkeys(flow.target for flow in found))
        reason = detail
        if detail == "served":
            reason = "a program of the node has it and does not echo, so silence proves nothing"
        pairs = counted(len(found), "pair")
        yield Finding(Status.UNKNOWN, f"{name} at {listed(hosts)}: {reason} ({pairs})", hosts)


def _matrix_applies(scene: Scene) -> str:
    return "" if _matrix(scene) else "no pair of nodes was probed"


def _full_size(scene: Scene) -> Iterator[Finding]:
    small = {(f.source, f.target, f.protocol, f.port): f for f in _matrix(scene)}
    narrow = {(m.source, m.target) for m in scene.probes.mtus if m.size < m.expected}
    items = []
    for flow in scene.probes.flows:
        if flow.protocol in ICMP or flow.size <= SMALL:
            continue
        first = small.get((flow.source, flow.target, flow.protocol, flow.port))
        # what small datagrams or the path itself do not pass is told by another check
        explained = first is None or first.verdict != "open"
        pair = {(flow.source, flow.target), (flow.target, flow.source)}
        explained = explained or bool(pair & narrow)
        bad = "" if explained else _bad(flow)
        items.append(Item(flow.source, flow.target, _label(scene, flow), bad))
    for cause in causes(items):
        text = f"{cause.where}: small datagrams pass and full-size ones do not: {cause.bad}"
        yield Finding(Status.FAIL, text, cause.hosts)


def _full_size_applies(scene: Scene) -> str:
    there = any(f.protocol not in ICMP and f.size > SMALL for f in scene.probes.flows)
    return "" if there else "no overlay over UDP is declared"


def _ping(scene: Scene) -> Iterator[Finding]:
    dead = dead_pairs(scene)
    flows = [f for f in scene.probes.flows if f.protocol in ICMP]
    told = [f for f in flows if f.verdict != "unknown"]
    items = [
        Item(
            f.source,
            f.target,
            label(f.protocol, 0),
            "" if (f.source, f.target) in dead else _bad(f),
        )
        for f in told
    ]
    for cause in causes(items):
        yield Finding(Status.WARN, f"{cause.where}: {cause.bad}", cause.hosts)
    groups: dict[tuple[str, str], list[str]] = {}
    for flow in flows:
        if flow.verdict == "unknown":
            groups.setdefault((label(flow.protocol, 0), flow.detail), []).append(flow.source)
    for (name, detail), names in groups.items():
        hosts = tuple(dict.fromkeys(names))
        yield Finding(Status.UNKNOWN, f"{name} from {listed(hosts)}: {detail}", hosts)


def _ping_applies(scene: Scene) -> str:
    there = any(f.protocol in ICMP for f in scene.probes.flows)
    return "" if there else "no pair of nodes was probed"


def _senders(host: Host, flow: Flow) -> frozenset[str]:
    """Addresses that a flow may come from: a tunnel's packets leave by the route's."""
    if not flow.beneath or host.facts is None:
        return frozenset({host.address})
    found = (text for each in host.facts.addresses.values() for text in each)
    return frozenset(str(interface(text).ip) for text in found)


def _source_address(scene: Scene) -> Iterator[Finding]:
    seen: dict[tuple[str, str], set[str]] = {}
    for flow in scene.probes.flows:
        if not flow.arrived_from or flow.translated or flow.protocol in ICMP:
            continue
        if flow.arrived_from not in _senders(scene.hosts[flow.source], flow):
            seen.setdefault((flow.source, flow.arrived_from), set()).add(flow.target)
    for (source, address), targets in seen.items():
        own = scene.hosts[source].address
        text = f"{source} ({own}) arrives at {listed(sorted(targets))} as {address}"
        yield Finding(Status.FAIL, text, (source,))


CHECKS = (
    Check(
        "reach/icmp", "Nodes answer each other's echo requests", Severity.WARNING,
        "Without ICMP a path that is too narrow swallows packets silently, and nobody can ping.",
        "let the firewall pass ICMP types 0, 3, 8 and 11 between the nodes", _ping, _ping_applies,
    ),
    Check(
        "reach/ports", "Every port that will be used is open, firewall on", Severity.STRICT,
        "The CNI, etcd, the kubelets and the tunnels need these ports, in these directions.",
        "open the port in the node's firewall and in the cloud's security group, from the addresses"
        " of the nodes", _reachable, _matrix_applies,
    ),
    Check(
        "reach/full-size", "Overlay ports pass datagrams of full size", Severity.STRICT,
        "A filter that drops large datagrams or fragments lets pings pass and stalls every"
        " transfer.",
        "look for a size or fragment rule in the firewalls on the way", _full_size,
        _full_size_applies,
    ),
    Check(
        "reach/source-address", "No address translation between nodes", Severity.ERROR,
        "CNIs, IPsec and BGP identify a node by its address; behind NAT they drop or misroute.",
        "exempt the node network from masquerading, or use addresses that are not translated",
        _source_address, _matrix_applies,
    ),
)  # fmt: skip
