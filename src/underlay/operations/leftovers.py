"""Remove what kube-proxy of one mode leaves behind for another, and nothing of anybody else.

The rule: never `kube-proxy --cleanup`. Beside a running proxy it removes the chains that the proxy
needs and leaves the virtual servers. Here only what the running mode does not use goes, by one
restore per table, so that no moment has half of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from underlay.facts.kube_proxy import DEVICE, Chain, NodeProxy, VirtualServer

#: Chains of one Service or endpoint in iptables mode: a name of 16 characters from a hash
#: (pkg/proxy/iptables/proxier.go; XLB until 1.23).
_SERVICE = "KUBE-(SVC|SVL|SEP|FW|XLB|EXT)-[A-Z0-9]{16}"

#: mode -> table -> chains that only this mode makes. KUBE-FIREWALL of the filter table is the
#: kubelet's; the one of the nat table was ipvs mode's. KUBE-NODE-PORT is the one that keeps
#: kube-proxy before 1.25 from starting in iptables mode again (kubernetes #109286).
_OWN: Mapping[str, Mapping[str, str]] = {
    "iptables": {
        "nat": f"{_SERVICE}|KUBE-NODEPORTS|KUBE-PROXY-CANARY",
        "filter": "KUBE-SERVICES|KUBE-EXTERNAL-SERVICES|KUBE-NODEPORTS|KUBE-PROXY-CANARY",
        "mangle": "KUBE-PROXY-CANARY",
    },
    "ipvs": {
        "nat": "KUBE-LOAD-BALANCER|KUBE-NODE-PORT|KUBE-FIREWALL",
        "filter": "KUBE-NODE-PORT|KUBE-IPVS-FILTER|KUBE-IPVS-OUT-FILTER"
        "|KUBE-SOURCE-RANGES-FIREWALL",
    },
}
#: Chains of both modes, which only nftables does without.
_BOTH = {
    "nat": "KUBE-SERVICES|KUBE-POSTROUTING|KUBE-MARK-MASQ",
    "filter": "KUBE-FORWARD|KUBE-PROXY-FIREWALL",
}

_FLAGS = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}


def chains_left(mode: str) -> dict[str, str]:
    """Table -> regular expression of the chains that kube-proxy in `mode` does not use."""
    others = [_OWN[other] for other in _OWN if other != mode]
    parts = [*others, *([_BOTH] if mode == "nftables" else [])]
    tables = dict.fromkeys(table for part in parts for table in part)
    return {table: "|".join(part[table] for part in parts if table in part) for table in tables}


def left(found: NodeProxy, mode: str, servers: Iterable[VirtualServer]) -> list[str]:
    """What another mode left on a node that runs `mode`, by name.

    servers: virtual servers of kube-proxy; found: read with its chains.
    """
    names = [f"chain {name} in {tool} {table}" for tool, table, name in _stale(found.chains, mode)]
    if mode != "ipvs":
        names += [f"virtual server {server}" for server in servers]
        names += [f"device {DEVICE}"] if found.device else []
        names += [f"set {name}" for name in found.sets]
    if mode != "nftables":
        names += [f"nftables table {name}" for name in found.tables]
    return names


def cleanup(mode: str, servers: Iterable[VirtualServer], udp: Iterable[str]) -> str:
    """Shell text to run when kube-proxy runs in `mode` already.

    servers: virtual servers of kube-proxy to remove; udp: ClusterIPs whose connections are
    forgotten when there were any: an entry that IPVS made leads nowhere without its server, and a
    flow that goes on would keep it alive. A datagram on its way at that moment is lost.
    """
    servers = list(servers)
    lines = ["set -e", _TOOL]
    if mode != "ipvs":
        lines += [_virtual_server(server) for server in servers]
        lines.append(f"ip link show {DEVICE} >/dev/null 2>&1 && ip link delete {DEVICE} || :")
    lines += [_rules(tool, mode) for tool in ("iptables", "ip6tables")]
    if mode != "ipvs":
        lines.append(
            "for s in $(tool ipset list -n 2>/dev/null | grep ^KUBE-); do"
            " tool ipset destroy $s || :; done"
        )
    if mode != "nftables":
        lines += [f"tool nft delete table {f} kube-proxy 2>/dev/null || :" for f in ("ip", "ip6")]
    lines += [
        f"tool conntrack -D -p udp --orig-dst {shlex.quote(address)} >/dev/null 2>&1 || :"
        for address in (udp if servers else ())
    ]
    return "\n".join(lines)


#: The node's own program, else the one in the image of the running kube-proxy.
_TOOL = (
    'tool() { if command -v "$1" >/dev/null; then "$@";'
    ' else chroot "/proc/$(pgrep -o -x kube-proxy)/root" "$@"; fi; }'
)


def _stale(chains: Iterable[Chain], mode: str) -> list[Chain]:
    patterns = chains_left(mode)
    return [
        chain for chain in chains if chain[1] in patterns and re.fullmatch(patterns[chain[1]],
                                                                           chain[2])
    ]  # fmt: skip


def _virtual_server(server: VirtualServer) -> str:
    address = f"[{server.address}]" if ":" in server.address else server.address
    where = shlex.quote(f"{address}:{server.port}")
    return f"ipvsadm -D {_FLAGS[server.protocol]} {where} 2>/dev/null || :"


def _rules(tool: str, mode: str) -> str:
    """Delete every rule elsewhere that jumps to a stale chain or matches a set, then the chains.

    Only ipvs mode matches sets, so in another mode such a rule is a leftover wherever it is.
    """
    parts = []
    for table, names in chains_left(mode).items():
        jumps = f"-[jg] ({names})( |$)"
        sets = "-e '--match-set KUBE-'" if mode != "ipvs" else ""
        keep = f"^-A ({names}) "
        parts.append(
            f"save=$(tool {tool}-save -t {table} 2>/dev/null || :);"
            f" have=$(printf '%s\\n' \"$save\" | sed -nE 's/^:({names}) .*/\\1/p');"
            f" gone=$(printf '%s\\n' \"$save\" | grep -E {sets} -e '{jumps}'"
            f" | grep -E '^-A' | grep -vE '{keep}' | sed 's/^-A/-D/' || :);"
            ' if [ -n "$have$gone" ]; then {'
            f" echo '*{table}'; printf '%s\\n' \"$have\" | sed '/^$/d;s/.*/:& - [0:0]/';"
            " printf '%s\\n' \"$gone\"; printf '%s\\n' \"$have\" | sed '/^$/d;s/^/-X /';"
            f" echo COMMIT; }} | sed '/^$/d' | tool {tool}-restore --noflush || :; fi"
        )
    return "\n".join(parts)
