"""What a pre-flight can be for: a feature, or a change of one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from underlay.features.kernel_modules.settings import SETS

#: Modes of kube-proxy, each of which may become each other one.
MODES = ("iptables", "ipvs", "nftables")
PROXY_CHANGES = frozenset(f"{a}->{b}" for a in MODES for b in MODES if a != b)
CNI_CHANGES = frozenset({"flannel->calico"})

KUBE_PROXY = frozenset({"kube_proxy"}) | PROXY_CHANGES
CNI = frozenset({"flannel", "calico", "route_reflectors"}) | CNI_CHANGES
TUNNELS = frozenset({"wireguard", "ipsec"})
KERNEL = frozenset({"kernel_modules", "sysctl"})
#: What `--for` takes.
SCOPES = KUBE_PROXY | CNI | TUNNELS | KERNEL

#: Kernel (major, minor) that a change or feature needs, and for what.
FLOORS: Mapping[str, tuple[tuple[int, int], str]] = {
    "nftables": ((5, 13), "kube-proxy's nftables mode"),
    "ipvs": ((5, 9), "ipvs without a second's delay for reused connections"),
    "calico": ((5, 10), "Calico"),
    "wireguard": ((5, 6), "WireGuard in the kernel"),
}


def ends(change: str) -> str:
    """What a change leads to: `ipvs->nftables` to nftables, a feature to itself."""
    return change.rpartition("->")[2]


def modules_for(change: str) -> tuple[str, ...]:
    """Kernel modules that a change needs besides the declared ones."""
    target = ends(change)
    return SETS.get(target, ()) if target in ("ipvs", "nftables", "wireguard", "ipsec") else ()
