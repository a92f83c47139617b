"""What else in the cluster depends on kube-proxy's mode, and whether it agrees with the new one.

The rule: a neighbour that would break is told before anything changes. A finding that refuses can
be accepted by its id in `kube_proxy.accept`; nothing is repaired that somebody else owns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from underlay.cluster import Api
from underlay.cluster.objects import CONFIG_MAP, DAEMON_SET, DEPLOYMENT
from underlay.features.kube_proxy import calico as of_calico
from underlay.features.kube_proxy.config_text import read as read_config
from underlay.features.kube_proxy.config_text import value_of
from underlay.features.kube_proxy.finding import Finding

Object = Mapping[str, Any]

#: Where NodeLocal DNSCache may listen in every mode (RFC 3927).
_LINK_LOCAL = "169.254."


@dataclass(frozen=True)
class Neighbours:
    """What was read of them.

    dns_cache: addresses of NodeLocal DNSCache, None without it; images: of every workload; calico:
    None without it; flannel: net-conf.json, None without it; replaced: Cilium does kube-proxy's
    work.
    """

    dns_cache: tuple[str, ...] | None = None
    images: tuple[str, ...] = ()
    calico: of_calico.Calico | None = None
    flannel: Mapping[str, Any] | None = None
    replaced: bool = False


def workloads(api: Api) -> list[Object]:
    """Every DaemonSet and Deployment."""
    return [{"kind": kind.name, **w} for kind in (DAEMON_SET, DEPLOYMENT) for w in api.list(kind)]


def read(api: Api, found: Sequence[Object]) -> Neighbours:
    """Ask only after what is there: most clusters have few of them."""
    names = {w["metadata"]["name"]: w for w in found}
    images = tuple(c.get("image", "") for w in found for c in _containers(w))
    cilium = names.get("cilium")
    replaced = False
    if cilium is not None:
        settings = api.find(CONFIG_MAP, "cilium-config", cilium["metadata"]["namespace"]) or {}
        value = str((settings.get("data") or {}).get("kube-proxy-replacement", "")).lower()
        replaced = value in {"true", "strict"}
    return Neighbours(
        dns_cache=_dns_cache(found),
        images=images,
        calico=of_calico.read(api, names.get("calico-node") or names.get("canal")),
        flannel=_flannel(api, names),
        replaced=replaced,
    )


def findings(
    found: Neighbours, *, mode: str, config: str, cluster_ips: Iterable[str]
) -> list[Finding]:
    """What does not agree with `mode` and the configuration that is to be written. Pure."""
    return [
        *_dns(found, mode, set(cluster_ips)),
        *of_calico.findings(found.calico, mode),
        *_announcers(found, mode, config),
        *_others(found, mode),
    ]


def kubelet_dns(found: Neighbours, cluster_dns: str) -> list[Finding]:
    """What a node's kubelet gives to pods against where NodeLocal DNSCache listens. Pure."""
    given = cluster_dns.split()
    if not found.dns_cache or not given or set(given) & set(found.dns_cache):
        return []
    return [
        Finding(
            "kubelet-dns",
            f"NodeLocal DNSCache listens on {found.dns_cache[0]} while this kubelet gives"
            f" {given[0]} to pods, which pass the cache by; set clusterDNS and restart pods",
            refuses=False,
        )
    ]


def _dns(found: Neighbours, mode: str, cluster_ips: set[str]) -> Iterator[Finding]:
    held = [address for address in found.dns_cache or () if address in cluster_ips]
    if held and mode != "iptables":
        yield Finding(
            "nodelocal-dns",
            f"NodeLocal DNSCache listens on the Service address {held[0]}, which works in mode"
            f" iptables only; let it listen on {_LINK_LOCAL}20.10 alone and give that address to"
            " kubelets as clusterDNS first",
        )


def _announcers(found: Neighbours, mode: str, config: str) -> Iterator[Finding]:
    strict = value_of(read_config(config), ("ipvs", "strictARP")) is True
    for word, name in (("metallb/speaker", "MetalLB"), ("kube-vip", "kube-vip")):
        if mode == "ipvs" and not strict and any(word in image for image in found.images):
            yield Finding(
                "strict-arp",
                f"{name} announces addresses that every node would answer for in mode ipvs; set"
                " kube_proxy.ipvs.strict_arp to True",
            )


def _others(found: Neighbours, mode: str) -> Iterator[Finding]:
    if found.replaced:
        yield Finding(
            "cilium", "Cilium does kube-proxy's work here (kube-proxy-replacement); remove the"
            " kube-proxy DaemonSet instead of changing its mode",
        )  # fmt: skip
    if mode != "iptables" and any("submariner" in image for image in found.images):
        yield Finding(
            "submariner", f"Submariner supports kube-proxy in mode iptables only, not {mode}; stay,"
            " or remove Submariner",
        )  # fmt: skip
    own = bool((found.flannel or {}).get("EnableNFTables"))
    if found.flannel is not None and own != (mode == "nftables"):
        yield Finding(
            "flannel-nftables",
            f"flannel has EnableNFTables {str(own).lower()} while kube-proxy will run in {mode};"
            " both work side by side, but set it alike to have one set of rules to look at",
            refuses=False,
        )


def _containers(workload: Object) -> list[Object]:
    return list(workload["spec"]["template"]["spec"].get("containers") or [])


def _dns_cache(found: Iterable[Object]) -> tuple[str, ...] | None:
    """The addresses after -localip of node-cache."""
    for workload in found:
        for container in _containers(workload):
            if "node-cache" not in container.get("image", ""):
                continue
            words = [*container.get("command", []), *container.get("args", [])]
            for word, following in zip(words, [*words[1:], ""], strict=True):
                if word.lstrip("-") == "localip":
                    return tuple(following.split(","))
            return ()
    return None


def _flannel(api: Api, names: Mapping[str, Object]) -> Mapping[str, Any] | None:
    workload = names.get("kube-flannel-ds")
    if workload is None:
        return None
    found = api.find(CONFIG_MAP, "kube-flannel-cfg", workload["metadata"]["namespace"]) or {}
    try:
        text = json.loads((found.get("data") or {}).get("net-conf.json", "{}"))
    except ValueError:
        return {}
    return text if isinstance(text, dict) else {}
