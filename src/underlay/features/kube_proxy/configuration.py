"""From settings to keys of KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1). Pure.

The rule: only keys that the inventory names are written, the mode always; every other key of the
cluster's configuration stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from underlay.errors import ClusterError
from underlay.features.kube_proxy.config_text import Values, read, value_of
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.settings import Part

#: Keys whose name is not the setting's in camel case.
_SPELLED = {
    "strict_arp": "strictARP",
    "exclude_cidrs": "excludeCIDRs",
    "tcp_timeout": "tcpTimeout",
    "tcp_be_liberal": "tcpBeLiberal",
}

#: Key -> first minor release that knows it (kubernetes #108250, #120354, #120808, KEP-3866). An
#: older kube-proxy decodes it leniently and says so in its log only.
_SINCE: dict[tuple[str, ...], int] = {
    ("iptables", "localhostNodePorts"): 26,
    ("nftables",): 29,
    ("conntrack", "tcpBeLiberal"): 29,
    ("conntrack", "udpTimeout"): 29,
    ("conntrack", "udpStreamTimeout"): 29,
}

#: Where kube-proxy tells its mode unless its configuration says otherwise.
METRICS = "127.0.0.1:10249"


def values(settings: KubeProxy, mode: str) -> Values:
    """The keys that we manage for this mode."""
    found: dict[tuple[str, ...], object] = {("mode",): mode}
    own: dict[str, Part] = {
        "iptables": settings.iptables, "ipvs": settings.ipvs, "nftables": settings.nftables,
    }  # fmt: skip
    found |= _given(mode, own[mode])
    found |= _given("conntrack", settings.conntrack)
    if settings.node_port_addresses is not None:
        found[("nodePortAddresses",)] = list(settings.node_port_addresses)
    return found


def unsupported(wanted: Values, minor: int) -> list[str]:
    """Keys that this release does not know, one sentence each."""
    return [
        f"kube-proxy of Kubernetes 1.{minor} does not know {'.'.join(path)}, which came with"
        f" 1.{since}; take it out of the inventory"
        for path in wanted
        for start, since in _SINCE.items()
        if path[: len(start)] == start and minor < since
    ]


def swallowed(exclude: Iterable[str], cluster_ips: Iterable[str]) -> list[str]:
    """excludeCIDRs that hold Services: kube-proxy would never remove their virtual servers."""
    addresses = [ip_address(text) for text in cluster_ips]
    return [
        f"kube_proxy.ipvs.exclude_cidrs: {text} holds the Service address {inside[0]}; exclude only"
        " networks of virtual servers that are not kube-proxy's"
        for text in exclude
        if (inside := [address for address in addresses if address in ip_network(text)])
    ]


def metrics_address(config: str) -> str:
    """`host:port` to ask on the node itself for /proxyMode; ClusterError when it is no address."""
    found = str(value_of(read(config), ("metricsBindAddress",)) or METRICS)
    host, _, port = found.rpartition(":")
    try:
        ip_address(host.strip("[]") or "0.0.0.0")  # noqa: S104 - read, not bound
        if not 0 < int(port) < 65536:
            raise ValueError(port)
    except ValueError as error:
        raise ClusterError(
            f"kube-proxy config.conf: metricsBindAddress is no address and port (got {found!r});"
            " write it as 127.0.0.1:10249"
        ) from error
    everywhere = host.strip("[]") in {"", "0.0.0.0", "::"}  # noqa: S104 - read, not bound
    return f"127.0.0.1:{port}" if everywhere else found


def owns_conntrack_max(config: str) -> bool:
    """Whether kube-proxy of this configuration writes `nf_conntrack_max` at every start."""
    return value_of(read(config), ("conntrack", "maxPerCore")) != 0


def _given(section: str, part: Part) -> dict[tuple[str, ...], object]:
    found = part.model_dump(mode="json", exclude_none=True)
    return {(section, _key(name)): value for name, value in found.items()}


def _key(name: str) -> str:
    first, *rest = name.split("_")
    return _SPELLED.get(name) or first + "".join(word.capitalize() for word in rest)
