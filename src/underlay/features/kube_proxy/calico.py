"""Calico beside kube-proxy: which rules Felix programs, who says so, and what to do first.

The rule: a variable of the pod wins over FelixConfiguration, and the operator writes the latter
back; so the advice names the place that really decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from underlay.cluster import Api
from underlay.cluster.objects import FELIX, INSTALLATION
from underlay.features.kube_proxy.finding import Finding

Object = Mapping[str, Any]

#: Since when Felix goes by kube-proxy on its node when nothing is said, and the operator's Nftables
#: means that (tigera/operator v1.42, setNftablesMode).
FOLLOWS = (3, 32)


@dataclass(frozen=True)
class Calico:
    """What was read.

    workload: `calico-node` or `canal`; version: of its image, () when the tag is none; variable:
    FELIX_NFTABLESMODE of its container; felix: nftablesMode of FelixConfiguration; dataplane:
    linuxDataplane of the operator, "" without it.
    """

    workload: str = "calico-node"
    version: tuple[int, ...] = ()
    variable: str = ""
    felix: str = ""
    dataplane: str = ""

    @property
    def mode(self) -> str:
        """Felix's: auto, enabled or disabled."""
        usual = "auto" if self.version >= FOLLOWS else "disabled"
        return (self.variable or self.felix or usual).lower()


def read(api: Api, workload: Object | None) -> Calico | None:
    """Ask after Felix where its DaemonSet is."""
    if workload is None:
        return None
    containers = workload["spec"]["template"]["spec"].get("containers") or []
    variables = {
        entry["name"]: str(entry.get("value") or "")
        for one in containers
        for entry in one.get("env") or []
    }
    tags = (re.search(r"node:v(\d+(?:\.\d+)+)", str(one.get("image", ""))) for one in containers)
    tag = next((found for found in tags if found), None)
    felix = (api.find(FELIX, "default") or {}).get("spec") or {}
    installation = (api.find(INSTALLATION, "default") or {}).get("spec") or {}
    return Calico(
        workload=str(workload["metadata"]["name"]),
        version=tuple(map(int, tag[1].split("."))) if tag else (),
        variable=variables.get("FELIX_NFTABLESMODE", ""),
        felix=str(felix.get("nftablesMode") or ""),
        dataplane=str((installation.get("calicoNetwork") or {}).get("linuxDataplane") or ""),
    )


def findings(found: Calico | None, mode: str) -> Iterator[Finding]:
    """What does not agree with kube-proxy's mode. Pure."""
    if found is None:
        return
    if mode == "nftables" and found.mode == "disabled":
        yield Finding(
            "calico-nftables",
            "Calico's Felix programs iptables (nftablesMode Disabled), which an nftables kube-proxy"
            f" does not meet; {_first(found)}",
        )
    if mode != "nftables" and found.mode == "enabled":
        yield Finding(
            "calico-nftables",
            f"Calico's Felix programs nftables only (nftablesMode Enabled) and mode {mode} needs"
            f" iptables; {_first(found)}",
        )
    if mode != "nftables" and found.dataplane.lower() == "nftables" and found.mode != "auto":
        yield Finding(
            "calico-dataplane",
            f"Calico's operator has linuxDataplane Nftables, which needs kube-proxy in nftables"
            f" mode and not {mode}; {_first(found)}",
        )
    yield Finding("calico-restart", _meanwhile(found, mode), refuses=False)


def _first(found: Calico) -> str:
    if found.workload == "canal":
        return "canal's flannel writes iptables rules: stay, or install Calico itself"
    if found.dataplane and found.version and found.version < FOLLOWS:
        return (
            "the operator of Calico before v3.32 lets Felix follow nobody: upgrade Calico, or"
            " change both in a maintenance window and accept this"
        )
    if found.dataplane:
        return (
            "set linuxDataplane: Nftables in Installation default first (calico.dataplane: nftables"
            " and deploys/calico.py): Felix then follows kube-proxy on each node"
        )
    if found.variable:
        return (
            f"FELIX_NFTABLESMODE of DaemonSet {found.workload} wins over FelixConfiguration; set it"
            " to Auto first (v3.32: calico.dataplane: nftables and deploys/calico.py)"
        )
    return "set nftablesMode: Auto in FelixConfiguration default first"


def _meanwhile(found: Calico, mode: str) -> str:
    if found.mode == "auto" and "nftables" in (mode, found.dataplane.lower()):
        return (
            "Calico's Felix follows kube-proxy on each node (nftablesMode Auto) and restarts itself"
            " some seconds after it; when all nodes are done, leave calico.dataplane out and run"
            " deploys/calico.py, so that what is said of it is what runs"
        )
    return (
        "Calico's Felix restarts itself when kube-ipvs0 appears or goes away, and is ready again"
        " some seconds later; if calico-node does not, delete its pod on that node"
    )
