"""Which mode kube-proxy should run in. Pure."""

from __future__ import annotations

from underlay.advice import knowledge as k
from underlay.advice.model import Advice, Need, Situation, Source, Verdict, verdict


def advise(found: Situation) -> Advice:
    """nftables where it runs; where it cannot, the mode that the number of Services asks for."""
    choose, why, sources = _choice(found)
    against = _against(found, choose)
    settings = {"mode": choose}
    if found.dependent.get(choose):
        sources = [*sources, k.DEPENDENT]
    if choose == "ipvs" and found.kubernetes and found.kubernetes >= k.IPVS_DEPRECATED:
        settings = {**settings, "accept_deprecated": True}  # type: ignore[dict-item]
    return Advice(
        "proxy-mode", "kube-proxy's mode", _verdict(found, choose), found.mode or "", choose,
        tuple(why), tuple(sources), tuple(against),
        {"kube_proxy": settings, **found.aligned.get(choose, {})},
    )  # fmt: skip


def _verdict(found: Situation, choose: str) -> Verdict:
    known = found.kubernetes is not None and found.kernel is not None
    made = verdict(found.mode or "", choose)
    return Verdict.CONSIDER if made is Verdict.CHANGE and not known else made


def _choice(found: Situation) -> tuple[str, list[str], list[Source]]:
    if Need.MULTI_CLUSTER in found.needs:
        return "iptables", ["Submariner knows no other mode."], [k.SUBMARINER]
    if Need.LOCALHOST_NODEPORT in found.needs:
        text = "NodePorts on 127.0.0.1 exist in iptables mode only."
        return "iptables", [text], [k.LOCALHOST]
    blocked = _blocked(found)
    if not blocked:
        why = [
            "Finding a Service costs the same for ten Services and for ten thousand, and it has"
            " every feature that is still developed.",
            "ipvs, which older guides name for large clusters, is deprecated from Kubernetes 1.35"
            " and refused by default from 1.40.",
        ]
        return "nftables", why, [k.KEP_NFTABLES, k.KEP_IPVS, k.KEP_DEFAULT, k.KERNEL_FLOOR]
    if found.services is not None and found.services > k.MANY_SERVICES and _ipvs_runs(found):
        why = [
            f"{blocked}, and {found.services} Services are too many for iptables mode.",
            "ipvs is a stopover: it ends with Kubernetes 1.40, so plan for nftables.",
        ]
        return "ipvs", why, [k.THOUSAND, k.KEP_IPVS]
    count = "" if found.services is None else f" {found.services} Services are few enough for it."
    sources = [k.THOUSAND, k.KERNEL_FLOOR, k.KEP_NFTABLES, k.DISTRIBUTIONS]
    return "iptables", [f"{blocked}.{count}"], sources


def _blocked(found: Situation) -> str:
    """Why nftables does not run here, "" when it does or nothing is known against it."""
    if found.kubernetes is not None and found.kubernetes < k.NFTABLES_GA:
        return f"nftables mode is GA from Kubernetes 1.33, this is {_dotted(found.kubernetes)}"
    if found.kernel is not None and found.kernel < k.NFTABLES_KERNEL:
        return f"nftables mode needs kernel 5.13, the oldest node has {_dotted(found.kernel)}"
    return ""


def _remedy(found: Situation) -> str:
    """What would let nftables run, where only a version or a kernel is in its way."""
    old = found.kernel is not None and found.kernel < k.NFTABLES_KERNEL
    behind = found.kubernetes is not None and found.kubernetes < k.NFTABLES_GA
    what = []
    if behind:
        what.append("Kubernetes to 1.33 or newer")
    if old:
        names = ", ".join(found.old_kernels[:4])
        more = f" and {len(found.old_kernels) - 4} more" if len(found.old_kernels) > 4 else ""
        where = f" of {names}{more}" if names else ""
        what.append(f"the kernel{where} to 5.13 or newer (Debian 12, Ubuntu 22.04, RHEL 9)")
    if not what or {Need.MULTI_CLUSTER, Need.LOCALHOST_NODEPORT} & found.needs:
        return ""
    return f"for nftables, upgrade {' and '.join(what)}; then ask again"


def _ipvs_runs(found: Situation) -> bool:
    return found.kubernetes is None or found.kubernetes < k.IPVS_REFUSED


def _against(found: Situation, choose: str) -> list[str]:
    told = []
    if choose == "nftables":
        if found.kubernetes is None:
            told.append("the cluster's version is not known; it must be 1.33 or newer")
        if found.kernel is None:
            told.append("the nodes' kernels are not known; they must be 5.13 or newer")
        told.append("NodePorts answer on the node's primary address only, not on 127.0.0.1")
        if found.cni == "calico":
            told.append("Calico's Felix must go along: calico.dataplane nftables before it (v3.32)")
    elif remedy := _remedy(found):
        told.append(remedy)
    told += found.dependent.get(choose, ())
    if found.mode and found.mode != choose:
        told.append(
            f"`underlay preflight --for '{found.mode}->{choose}'`, then deploys/proxy_mode.py"
        )
    return told


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
