"""Checks of name resolution: answers over UDP and TCP, the stub loop, traps in /etc/hosts."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from underlay.checks.model import Check, Finding, Severity, Status
from underlay.facts.node import Node
from underlay.features.preflight.scene import DnsAnswer, Scene
from underlay.features.preflight.words import counted, listed

WORDS = {
    "timeout": "no answer",
    "refused": "nothing listens",
    "prohibited": "a firewall forbids it",
}


def _grouped(answers: list[DnsAnswer]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What went wrong, told once for all nodes and names it is the same for."""
    groups: dict[tuple[str, str], list[DnsAnswer]] = {}
    for answer in answers:
        bad = answer.detail or WORDS.get(answer.verdict, answer.verdict)
        groups.setdefault((answer.server, bad), []).append(answer)
    for (server, bad), found in groups.items():
        hosts = tuple(dict.fromkeys(answer.source for answer in found))
        names = listed(answer.name for answer in found)
        yield f"{server}: {bad} for {names} from {listed(hosts)}", hosts


def _resolves(scene: Scene) -> Iterator[Finding]:
    answers = [a for a in scene.probes.dns if a.way == "udp"]
    for text, hosts in _grouped([a for a in answers if a.verdict not in ("open", "unknown")]):
        yield Finding(Status.FAIL, text, hosts)
    for host, node in scene.read():
        if host.preflight.dns.outside and not node.resolvers:
            text = f"{host.name}: /etc/resolv.conf names no resolver"
            yield Finding(Status.FAIL, text, (host.name,))
    if answers and all(answer.verdict == "open" for answer in answers):
        yield Finding(Status.PASS, f"{counted(len(answers), 'answer')} over UDP")


def _resolves_applies(scene: Scene) -> str:
    asked = any(h.preflight.dns.outside or h.preflight.dns.cluster for h in scene)
    return "" if asked else "no name is listed in preflight.dns"


def _tcp(scene: Scene) -> Iterator[Finding]:
    good = {
        (a.source, a.server, a.name)
        for a in scene.probes.dns
        if (a.way, a.verdict) == ("udp", "open")
    }
    bad = [
        a
        for a in scene.probes.dns
        if a.way == "tcp" and a.verdict != "open" and (a.source, a.server, a.name) in good
    ]
    for text, hosts in _grouped(bad):
        yield Finding(Status.FAIL, f"over TCP {text}, while UDP answers", hosts)


def _loopback(text: str) -> bool:
    try:
        return ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


def pods_resolvers(node: Node) -> tuple[str, ...]:
    """The resolvers that the kubelet hands to CoreDNS: of the file that it is told to read."""
    path = node.kubelet_value("resolvConf")
    uplink = "/run/systemd/resolve/resolv.conf"
    # kubeadm writes the uplink file into the kubelet's configuration where systemd-resolved runs
    if (
        path == uplink
        or uplink in node.kubelet_flags
        or (not node.kubelet and node.uplink_resolvers)
    ):
        return node.uplink_resolvers
    return node.resolvers


def _stub(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        found = [text for text in pods_resolvers(node) if _loopback(text)]
        if found:
            text = (
                f"{host.name}: CoreDNS would get {listed(found)} as its upstream, which is itself"
            )
            yield Finding(Status.FAIL, text, (host.name,))


def _hosts_file(scene: Scene) -> Iterator[Finding]:
    known = {name.lower(): host for host in scene for name in (host.name, _hostname(host.facts))}
    for host, node in scene.read():
        names = {name.lower(): address for address, words in node.hosts for name in words}
        own = names.get(node.hostname.lower(), "")
        if own and _loopback(own) and host.address:
            text = f"{host.name}: /etc/hosts maps its own name {node.hostname!r} to {own}"
            yield Finding(Status.WARN, text, (host.name,))
        for name, address in names.items():
            other = known.get(name)
            if other is None or not other.address or other is host:
                continue
            if address != other.address:
                text = f"{host.name}: /etc/hosts maps {name} to {address}, it is {other.address}"
                yield Finding(Status.FAIL, text, (host.name,))
        if node.hosts and "localhost" not in names:
            text = f"{host.name}: /etc/hosts does not know localhost"
            yield Finding(Status.WARN, text, (host.name,))


def _hostname(node: Node | None) -> str:
    return node.hostname if node is not None else ""


CHECKS = (
    Check(
        "dns/resolves", "Resolvers answer every node for the listed names", Severity.ERROR,
        "Image pulls, the API server's name and CoreDNS's upstream depend on it.",
        "correct /etc/resolv.conf, or open 53/udp to the resolver", _resolves, _resolves_applies,
    ),
    Check(
        "dns/tcp", "Resolvers answer over TCP too", Severity.ERROR,
        "Answers above 512 bytes, and NodeLocal DNS always, go over TCP.",
        "open 53/tcp to the resolver", _tcp, _resolves_applies,
    ),
    Check(
        "dns/stub-loop", "CoreDNS does not get itself as its upstream", Severity.STRICT,
        "CoreDNS finds the loop and crashes; 127.0.0.53 is a pod's own loopback.",
        "set resolvConf: /run/systemd/resolve/resolv.conf in the kubelet's configuration", _stub,
    ),
    Check(
        "dns/hosts-file", "/etc/hosts sends nobody to a wrong address", Severity.ERROR,
        "The node's name on 127.0.1.1 makes kubelet, etcd and Calico advertise the loopback.",
        "map each node's name to its node address, or to nothing", _hosts_file,
    ),
)  # fmt: skip
