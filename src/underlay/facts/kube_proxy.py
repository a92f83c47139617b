"""kube-proxy on one node: the mode it runs in, what IPVS holds, and whether Services answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay import journal
from underlay.facts import kernel
from underlay.facts.kernel import ModuleState
from underlay.facts.script import ScriptFact

#: The dummy device that holds every ClusterIP in ipvs mode (pkg/proxy/ipvs).
DEVICE = "kube-ipvs0"


@dataclass(frozen=True, order=True)
class VirtualServer:
    """One entry of the kernel's IPVS table."""

    protocol: str
    address: str
    port: int
    scheduler: str

    def __str__(self) -> str:
        return f"{self.protocol} {self.address}:{self.port}"


#: Programs that a switch or its way back calls; looked for on the node and in kube-proxy's image.
TOOLS = ("ipvsadm", "ipset", "iptables", "nft", "conntrack", "python3")

#: Chains that some kube-proxy made, by where they are: `iptables filter KUBE-SERVICES`.
Chain = tuple[str, str, str]


@dataclass(frozen=True)
class NodeProxy:
    """One node.

    mode: what /proxyMode answers, "" when nothing does; servers: the IPVS table; addresses: those
    on kube-ipvs0; sets: names of KUBE-* ipsets; tables: nftables tables of kube-proxy; modules:
    state of each asked module; local: the node's own addresses; entries: our journal; chains: only
    when asked for; policies: chain to its policy, INPUT and FORWARD; tools: those the node has;
    image_tools: those in kube-proxy's image; kernel: its release; cluster_dns: what the kubelet
    gives to pods.
    """

    mode: str
    servers: tuple[VirtualServer, ...]
    device: bool
    addresses: frozenset[str]
    sets: tuple[str, ...]
    modules: Mapping[str, ModuleState]
    local: frozenset[str]
    entries: tuple[journal.Entry, ...]
    tables: tuple[str, ...] = ()
    chains: tuple[Chain, ...] = ()
    policies: Mapping[str, str] = field(default_factory=dict)
    tools: frozenset[str] = frozenset()
    image_tools: frozenset[str] = frozenset()
    kernel: str = ""
    cluster_dns: str = ""


class KubeProxyNode(ScriptFact[NodeProxy | None]):
    """Everything a migration needs of one node, in one command."""

    @override
    def command(
        self, modules: Iterable[str], change: str, metrics: str, chains: bool = False
    ) -> StringCommand:
        return self.run(readings(modules, change, metrics, chains=chains))

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> NodeProxy:
        return parse(readings)


def ask_mode(metrics: str) -> str:
    """Shell text that prints what /proxyMode answers; curl when it is there, else bash alone."""
    host, _, port = metrics.rpartition(":")
    url = shlex.quote(f"http://{metrics}/proxyMode")
    request = "GET /proxyMode HTTP/1.0\\r\\n\\r\\n"
    where = f"/dev/tcp/{shlex.quote(host.strip('[]'))}/{shlex.quote(port)}"
    raw = f"exec 3<>{where} && printf '{request}' >&3 && cat <&3"
    return (
        f"if command -v curl >/dev/null; then curl -s -m 4 {url};"
        f" else timeout 4 bash -c {shlex.quote(raw)} | tail -n 1; fi; echo"
    )


def readings(modules: Iterable[str], change: str, metrics: str, *, chains: bool) -> dict[str, str]:
    """The shell text of each reading; the one of `chains` may be large, so it is asked for."""
    asked = kernel.readings(modules, (), (), change)
    tools = " ".join(TOOLS)
    folders = "sbin bin usr/sbin usr/bin usr/local/sbin usr/local/bin"
    saved = (
        "for f in iptables ip6tables; do $f-save | awk -v f=$f"
        " '/^[*]/ { t = substr($1, 2) } /^:KUBE-/ { print f, t, substr($1, 2) }'; done"
    )
    return {
        "mode": ask_mode(metrics),
        "table": "cat /proc/net/ip_vs",
        "device": f"ip -o addr show dev {DEVICE}",
        "link": f"ip -o link show dev {DEVICE}",
        "local": "ip -o addr show",
        "sets": "ipset list -n | grep ^KUBE-",
        "tables": "nft list tables | grep -E '^table ip6? kube-proxy$'",
        "chains": saved if chains else ":",
        "policies": "for c in INPUT FORWARD; do iptables -S $c | sed -n '/^-P/p'; done",
        "tools": f"for t in {tools}; do command -v $t >/dev/null && echo $t; done",
        "image": f"p=$(pgrep -o -x kube-proxy) && for t in {tools}; do for d in {folders}; do"
        " [ -e /proc/$p/root/$d/$t ] && echo $t && break; done; done",
        "kernel": "uname -r",
        "dns": "awk '/^clusterDNS:/ { f = 1; next } f && /^ *- / { print $2; next } { f = 0 }'"
        " /var/lib/kubelet/config.yaml",
        "loaded": asked["loaded"],
        "there": asked["there"],
        "would": asked["would"],
        "journal": f"cat {shlex.quote(journal.path(change))}",
    }


def parse(found: Mapping[str, list[str]]) -> NodeProxy:
    """From the lines of each reading."""
    on_device = _addresses(found["device"])
    policies = [line.split() for line in found["policies"]]
    return NodeProxy(
        mode=(found["mode"] or [""])[0].strip(),
        servers=virtual_servers(found["table"]),
        device=bool(found["link"]),
        addresses=on_device,
        sets=tuple(sorted(found["sets"])),
        modules=kernel.states(found["loaded"], found["there"], found["would"]),
        local=_addresses(found["local"]) - on_device,
        entries=journal.parse(found["journal"]),
        tables=tuple(" ".join(line.split()[1:]) for line in found["tables"]),
        chains=tuple(
            (words[0], words[1], words[2])
            for line in found["chains"]
            if len(words := line.split()) == 3
        ),
        policies={words[1]: words[2] for words in policies if len(words) == 3},
        tools=frozenset(found["tools"]),
        image_tools=frozenset(found["image"]),
        kernel=(found["kernel"] or [""])[0],
        cluster_dns=" ".join(found["dns"]),
    )


def virtual_servers(lines: Sequence[str]) -> tuple[VirtualServer, ...]:
    """From /proc/net/ip_vs: `TCP  0A600001:01BB rr`; addresses and ports are hexadecimal."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) < 3 or words[0] not in {"TCP", "UDP", "SCTP"}:
            continue
        address, _, port = words[1].rpartition(":")
        text = (
            str(IPv6Address(address.strip("[]")))
            if address.startswith("[")
            else str(IPv4Address(int(address, 16)))
        )
        found.append(VirtualServer(words[0], text, int(port, 16), words[2]))
    return tuple(sorted(found))


def _addresses(lines: Iterable[str]) -> frozenset[str]:
    """From `ip -o addr`: the word after inet or inet6."""
    found = set()
    for line in lines:
        words = line.split()
        for word, following in pairwise(words):
            if word in {"inet", "inet6"}:
                found.add(following.partition("/")[0])
    return frozenset(found)
