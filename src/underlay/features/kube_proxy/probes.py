"""Probes of real Services: which ones, the shell text that tries them, and what may differ. Pure.

The rule: a probe proves only what it saw. Its outcome is compared with its own outcome before the
change; a Service that did not answer before is not expected to answer after. What could not be
tried, as from a pod where there is none, is said to be so and proves nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Seconds one probe may take; a busy or emulated node is slow.
PATIENCE = 8

#: The outcome of a probe that had no place to be made from.
NOT_TRIED = "not-tried"
#: How good an outcome is; only a worse one is a regression.
_RANK = {"open": 2, "answered": 2, "refused": 1}

#: A question for the name servers of the root, as raw DNS (RFC 1035 section 4).
_DNS = r"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"


@dataclass(frozen=True, order=True)
class Probe:
    """One thing to try.

    name: for people, unique; place: `node`, `pod` (from the namespace of a pod on the node) or
    `pod ADDRESS` (of the pod with that address);
    expected_to_differ: modes are known to differ here, so it is reported and does not decide.
    """

    name: str
    place: str
    protocol: str
    address: str
    port: int
    expected_to_differ: bool = False


@dataclass(frozen=True)
class Place:
    """Where probes are made: a node, its address, and `namespace/name` of Services whose only
    endpoint is a pod of this node, to the pod's address.
    """

    node: str
    address: str
    own: Mapping[str, str]


def targets(
    services: Sequence[Mapping[str, Any]], ready: frozenset[str], place: Place, limit: int
) -> tuple[Probe, ...]:
    """What to try on one node.

    services: objects of the API; ready: `namespace/name` of those with endpoints; limit: how many
    Services of each kind. kubernetes.default and DNS come first.
    """
    chosen: list[Probe] = []
    for kind in (_cluster_ips, _node_ports, _external, _hairpin, _without_endpoints):
        made = (kind(service, ready, place) for service in _ordered(services))
        for probes in [found for found in made if found][:limit]:
            chosen += probes
    return tuple(dict.fromkeys(chosen))


def script(probes: Sequence[Probe]) -> str:
    """Bash text that runs all probes and prints `number outcome` for each that ended in time.

    Outcomes: open, refused (TCP); answered, refused (UDP); not-tried. Every probe is a fork of one
    shell: to start a program takes a busy or emulated node longer than the connection itself.
    """
    numbered = list(enumerate(probes))
    lines = []
    for place in dict.fromkeys(probe.place for probe in probes):
        mine = [(n, p) for n, p in numbered if p.place == place]
        text = _watched(mine)
        lines.append(f"{{ {text}; }} &" if place == "node" else _in_pod(place, text, mine))
    return "\n".join([*lines, "wait", "echo end"])


def _in_pod(place: str, text: str, numbered: Sequence[tuple[int, Probe]]) -> str:
    """The same inside the network namespace of a pod; without one, all are not tried."""
    address = place.partition(" ")[2]
    mine = (
        f"nsenter --net=$n ip -o addr | grep -qF ' {address}/'" if address
        else "nsenter --net=$n true"
    )  # fmt: skip
    untried = "; ".join(f"echo {number} {NOT_TRIED}" for number, _ in numbered)
    return (
        f"pod=; for n in /run/netns/cni-*; do {mine} && pod=$n && break; done 2>/dev/null\n"
        f'if [ -z "$pod" ]; then {untried}; else nsenter --net="$pod" bash -c'
        f" {shlex.quote(text)} & fi"
    )


def _watched(numbered: Sequence[tuple[int, Probe]]) -> str:
    """Probes at once, those that have not ended after PATIENCE seconds killed."""
    if not numbered:
        return ""
    calls = [f'{{ {_try(number, probe)}; }} 2>/dev/null & p="$p $!"' for number, probe in numbered]
    return "; ".join(
        [
            "p=",
            *calls,
            f"{{ sleep {PATIENCE}; kill $p; }} 2>/dev/null & w=$!",
            "wait $p 2>/dev/null",
            "kill $w 2>/dev/null",
        ]
    ).replace("&;", "&")


def _try(number: int, probe: Probe) -> str:
    where = f"/dev/{probe.protocol.lower()}/{probe.address}/{probe.port}"
    if probe.protocol == "TCP":
        return f"if {{ :; }} 3<>{where}; then echo {number} open; else echo {number} refused; fi"
    ask = f"printf '{_DNS}' >&3; IFS= read -r -n 1 -t {PATIENCE - 1} -u 3 x"
    return (
        f"{{ {ask}; }} 3<>{where}; r=$?; if [ $r = 0 ]; then echo {number} answered;"
        f" elif [ $r -lt 128 ]; then echo {number} refused; fi"
    )


def outcomes(lines: Iterable[str], probes: Sequence[Probe]) -> dict[str, str]:
    """Name of each probe to its outcome; ValueError when the script broke off.

    A probe that printed nothing timed out: `timeout` for TCP, `silent` for UDP.
    """
    found = {probe.name: "timeout" if probe.protocol == "TCP" else "silent" for probe in probes}
    printed = [line.strip() for line in lines]
    if "end" not in printed:
        raise ValueError("the probes broke off before their end")
    for line in printed:
        number, _, outcome = line.partition(" ")
        if number.isdigit() and int(number) < len(probes):
            found[probes[int(number)].name] = outcome
    return found


def regressions(
    before: Mapping[str, str], after: Mapping[str, str], probes: Sequence[Probe]
) -> list[str]:
    """What is worse than before, one sentence each; what was not tried cannot be compared."""
    sentences = []
    for probe in probes:
        old, new = before.get(probe.name), after.get(probe.name)
        if NOT_TRIED in (old, new):
            continue
        worse = old is not None and _RANK.get(new or "", 0) < _RANK.get(old, 0)
        if worse and not probe.expected_to_differ:
            sentences.append(f"{probe.name} was {old} before and is {new} now")
    return sentences


def untried(found: Mapping[str, str]) -> str:
    """One sentence about the probes that prove nothing, "" when all were tried."""
    names = [name for name, outcome in found.items() if outcome == NOT_TRIED]
    if not names:
        return ""
    return (
        f"{len(names)} of {len(found)} probes not tried, as there is no pod to try them from"
        f" ({names[0]}{', ...' if len(names) > 1 else ''})"
    )


def _ordered(services: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """kubernetes.default and DNS first: without them nothing else matters."""
    first = {"default/kubernetes": 0, "kube-system/kube-dns": 1}
    return sorted(services, key=lambda service: (first.get(name_of(service), 2), name_of(service)))


def name_of(found: Mapping[str, Any]) -> str:
    """`namespace/name` of an object."""
    return f"{found['metadata']['namespace']}/{found['metadata']['name']}"


def _cluster_ips(service: Mapping[str, Any], ready: frozenset[str], place: Place) -> list[Probe]:
    address = service["spec"].get("clusterIP")
    if address in (None, "", "None") or name_of(service) not in ready:
        return []
    sticky = " sticky" if service["spec"].get("sessionAffinity") == "ClientIP" else ""
    return [
        Probe(
            f"{name_of(service)} {port['protocol']} {port['port']}{sticky} from {where}",
            where, port["protocol"], address, int(port["port"]),
        )
        for port in service["spec"].get("ports", [])
        for where in ("node", "pod")
        if port["protocol"] in {"TCP", "UDP"}
    ]  # fmt: skip


def _node_ports(service: Mapping[str, Any], ready: frozenset[str], place: Place) -> list[Probe]:
    if name_of(service) not in ready:
        return []
    found = []
    for port in service["spec"].get("ports", []):
        if not port.get("nodePort") or port["protocol"] != "TCP":
            continue
        number = int(port["nodePort"])
        name = f"{name_of(service)} NodePort {number}"
        found.append(Probe(f"{name} on {place.address}", "node", "TCP", place.address, number))
        # ipvs and nftables do not serve NodePorts on loopback (KEP-6032)
        found.append(Probe(f"{name} on 127.0.0.1", "node", "TCP", "127.0.0.1", number, True))
    return found


def _external(service: Mapping[str, Any], ready: frozenset[str], place: Place) -> list[Probe]:
    """externalIPs and addresses of load balancers, which kube-proxy serves on the node itself."""
    if name_of(service) not in ready:
        return []
    spec = service["spec"]
    balancers = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    addresses = [*(spec.get("externalIPs") or []), *(b["ip"] for b in balancers if b.get("ip"))]
    ports = [port for port in spec.get("ports", []) if port["protocol"] == "TCP"]
    return [
        Probe(
            f"{name_of(service)} {port['port']} on {address} from node",
            "node", "TCP", address, int(port["port"]),
        )
        for address in addresses
        for port in ports[:1]
    ]  # fmt: skip


def _hairpin(service: Mapping[str, Any], ready: frozenset[str], place: Place) -> list[Probe]:
    """A pod that reaches itself by its Service, which needs its traffic to be masqueraded."""
    pod = place.own.get(name_of(service))
    address = service["spec"].get("clusterIP")
    if pod is None or address in (None, "", "None"):
        return []
    ports = [port for port in service["spec"].get("ports", []) if port["protocol"] == "TCP"]
    return [
        Probe(
            f"{name_of(service)} {port['port']} from its own pod",
            f"pod {pod}", "TCP", address, int(port["port"]),
        )
        for port in ports[:1]
    ]  # fmt: skip


def _without_endpoints(
    service: Mapping[str, Any], ready: frozenset[str], place: Place
) -> list[Probe]:
    address = service["spec"].get("clusterIP")
    selected = service["spec"].get("selector")
    if address in (None, "", "None") or name_of(service) in ready or not selected:
        return []
    ports = [port for port in service["spec"].get("ports", []) if port["protocol"] == "TCP"]
    return [
        Probe(
            f"{name_of(service)} {port['port']} without endpoints",
            "node", "TCP", address, int(port["port"]),
        )
        for port in ports[:1]
    ]  # fmt: skip
