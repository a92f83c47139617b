"""Who owns each declared kernel setting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from underlay.facts.sysctl import KernelSettings, at_boot
from underlay.operations.sysctl import MAX, Wanted, kube_proxy_size, resolve

_NETWORKD = "systemd-networkd (IPForward=, IPv4Forwarding=, IPv6Forwarding=)"
_UFW = "ufw (/etc/ufw/sysctl.conf, applied when it starts)"

#: Programs known to write a setting while they run, by key or its beginning.
WRITERS = {
    "net.ipv4.ip_forward": ("kube-proxy (ipvs)", "docker", _NETWORKD, _UFW),
    "net.ipv6.conf.": (_NETWORKD, _UFW),
    "net.bridge.bridge-nf-call-": ("docker", "kubelet of older releases"),
    "net.ipv4.conf.": (
        "Calico Felix (rp_filter of cali*)",
        "kube-proxy (ipvs with strictARP)",
        "systemd-networkd (per link)",
        _UFW,
    ),
    "net.ipv4.icmp_": (_UFW,),
    "net.ipv4.tcp_sack": (_UFW,),
    "net.netfilter.nf_conntrack_tcp_timeout_": ("kube-proxy (conntrack timeouts)",),
    "net.ipv4.vs.": ("kube-proxy (ipvs)",),
}


def rows(found: KernelSettings, wanted: Mapping[str, Wanted]) -> list[dict[str, Any]]:
    """One row per declared key: status, declared, live, the files that name it, other writers.

    status: ok, live-differs, boot-differs, unknown (this kernel has no such key).
    """
    known = {key: setting for key, setting in wanted.items() if key in found.values}
    declared, _ = resolve(found, known)
    return [_row(found, key, declared.get(key, wanted[key].value)) for key in wanted]


def _row(found: KernelSettings, key: str, declared: str) -> dict[str, Any]:
    lines = at_boot(found.lines, key)
    live = found.values.get(key)
    boot = [{"path": line.path, "value": line.value, "wins": line is lines[-1]} for line in lines]
    if live is None:
        status = "unknown"
    elif live != declared:
        status = "live-differs"
    else:
        status = "ok" if lines and lines[-1].value == declared else "boot-differs"
    return {
        "key": key, "status": status, "declared": declared, "live": live, "boot": boot,
        "writers": _writers(found, key),
    }  # fmt: skip


def _writers(found: KernelSettings, key: str) -> list[str]:
    names = [name for start, who in WRITERS.items() if key.startswith(start) for name in who]
    if key != MAX:
        return names
    if found.kube_proxy is None:
        return [*names, "kube-proxy, unless its conntrack.maxPerCore is 0"]
    computed = kube_proxy_size(found)
    if computed is not None:
        version = found.kube_proxy.version
        names.append(f"kube-proxy {version}, which computes {computed} at every start")
    return names
