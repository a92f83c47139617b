"""What may be changed on a Calico that runs and what may not: live state against plan. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from underlay.addressing.overlap import network, overlap
from underlay.facts.cni import CniNode
from underlay.features import cni_guard
from underlay.features.calico import canal, plan
from underlay.features.calico.plan import WantedPool
from underlay.features.calico.settings import Calico

Object = Mapping[str, Any]

NEW_POOL = (
    "supported way: add a second pool, disable the first, make the pods again, then delete it"
    " (docs/calico.md)"
)
#: The minor version from which a server takes `x-kubernetes-validations`.
RULES_SINCE = 25

#: Fields of Installation.spec.calicoNetwork that Calico cannot change under running pods.
_FIXED = {
    "bgp": "routes of running pods would go",
    "linuxDataplane": "with v3.32 it may change before kube-proxy's mode, which Felix then follows;"
    " else change both in a maintenance window",
}


def pool_refusals(wanted: Sequence[WantedPool], live: Iterable[Object]) -> Iterator[str]:
    """live: IPPool objects of either API."""
    by_cidr = {str(network(pool.cidr)): pool for pool in wanted}
    for found in live:
        spec, name = found["spec"], found["metadata"]["name"]
        cidr = str(network(spec["cidr"]))
        pool = by_cidr.get(cidr)
        where = f"IPPool {name} ({cidr})"
        if pool is None:
            yield from _unknown(where, spec, wanted)
            continue
        if pool.name != name:
            yield f"{where}: is called {pool.name!r} in calico.pools; call it {name!r} there"
        size = spec.get("blockSize", plan.BLOCKS[6 if pool.v6 else 4])
        if size != pool.block_size:
            yield (
                f"{where}: blockSize is {size} and would become {pool.block_size}, which Calico"
                f" never changes; {NEW_POOL}"
            )
        modes = (spec.get("ipipMode") or "Never", spec.get("vxlanMode") or "Never")
        if modes != plan.ENCAPSULATIONS[pool.encapsulation][1:]:
            now = next(k for k, v in plan.ENCAPSULATIONS.items() if v[1:] == modes)
            yield (
                f"{where}: encapsulation is {now} and would become {pool.encapsulation}, which"
                f" breaks pods between nodes that have it and nodes that have not; {NEW_POOL}"
            )


def _unknown(where: str, spec: Object, wanted: Sequence[WantedPool]) -> Iterator[str]:
    if spec.get("disabled"):
        # remote networks that are not to be masqueraded
        return
    clash = [pool for pool in wanted if overlap(network(pool.cidr), network(spec["cidr"]))]
    if clash:
        yield (
            f"{where}: would become {clash[0].cidr}, and a pool's CIDR is never changed; {NEW_POOL}"
        )
    else:
        yield f"{where}: is not in the plan; name it in calico.pools, or disable it first"


def installation_refusals(wanted: Object, live: Object | None, *, follows: bool) -> Iterator[str]:
    """live: the Installation `default`; follows: Felix goes by kube-proxy on each node."""
    if live is None:
        return
    now = live.get("spec", {}).get("calicoNetwork") or {}
    then = wanted["spec"]["calicoNetwork"]
    for key, why in _FIXED.items():
        if follows and {now.get(key), then[key]} <= {"Iptables", "Nftables"}:
            continue
        if key in now and now[key] != then[key]:
            yield f"Installation default: {key} is {now[key]} and would become {then[key]}; {why}"


def config_refusals(bgp: bool, live: Object | None) -> Iterator[str]:
    """live: the ConfigMap of a plain manifest; what it says of BGP cannot change under pods."""
    now = str(((live or {}).get("data") or {}).get("calico_backend") or "")
    if now and (now == "bird") != bgp:
        then = "bird" if bgp else "vxlan"
        yield (
            f"ConfigMap kube-system/calico-config: calico_backend is {now} and would become {then};"
            f" {_FIXED['bgp']}, do it in a maintenance window, or set network.bgp to {not bgp}"
        )


def install_refusals(
    settings: Calico, workloads: Iterable[Object], installation: Object | None
) -> Iterator[str]:
    """Another CNI, or Calico that was installed in the other way or at a newer version.

    installation: `default`. Where it is, the operator makes Calico, even if no pod is there yet.
    """
    found = list(workloads)
    names = {str(one["metadata"]["name"]) for one in found}
    if settings.install != "operator" and (installation is not None or "tigera-operator" in names):
        what = "an Installation" if installation is not None else "the tigera-operator"
        yield (
            f"{what} is there: Calico's operator makes Calico in this cluster and would fight with"
            " a manifest; set calico.install to 'operator'"
        )
    by_canal = settings.install == "canal"
    yield from cni_guard.workloads(found, "Canal" if by_canal else "Calico")
    for one in found:
        meta = one["metadata"]
        if meta["name"] != (canal.DAEMON_SET if by_canal else "calico-node"):
            continue
        plain = meta.get("namespace") == "kube-system"
        if plain and settings.install == "operator":
            yield (
                "calico-node runs in kube-system, from a plain manifest; set calico.install to"
                " 'manifest', or follow upstream's way from manifest to operator first"
            )
        elif not plain and settings.install == "manifest":
            yield (
                f"calico-node runs in {meta.get('namespace')}, by the operator; set calico.install"
                " to 'operator'"
            )
        running = _version(one)
        if running and running > plan.numbers(settings.version):
            told = ".".join(map(str, running))
            yield (
                f"Calico v{told} runs and {settings.version} is older; Calico does not go back, set"
                f" calico.version to v{told} or newer"
            )


def _version(found: Object) -> tuple[int, ...]:
    containers = found.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or []
    for one in containers:
        match = re.search(r":v(\d+\.\d+\.\d+)", str(one.get("image", "")))
        if match:
            return plan.numbers(match[1])
    return ()


def server_refusals(found: Iterable[Object], version: str) -> Iterator[str]:
    """Definitions with rules (CEL) need a server that knows them; version: v1.30.2."""
    match = re.match(r"v?1\.(\d+)", version)
    if match is None or int(match[1]) >= RULES_SINCE:
        return
    if any(one["kind"] == "CustomResourceDefinition" and _has_rules(one) for one in found):
        yield (
            f"the definitions of this release need Kubernetes 1.{RULES_SINCE} and this is"
            f" {version}; upgrade it first"
        )


def _has_rules(found: object) -> bool:
    if isinstance(found, Mapping):
        return "x-kubernetes-validations" in found or any(map(_has_rules, found.values()))
    return isinstance(found, list) and any(map(_has_rules, found))


def proxy_refusals(wanted: str, mode: str, *, follows: bool) -> Iterator[str]:
    """wanted: the data plane; mode: what the live ConfigMap of kube-proxy says, "" without one.

    follows: Felix with nftables goes by kube-proxy on each node, so it may come first.
    """
    if follows and wanted == "nftables":
        return
    if mode and (mode == "nftables") != (wanted == "nftables"):
        do = "nftables" if mode == "nftables" else "iptables"
        yield (
            f"kube-proxy's mode is {mode} and Calico's data plane would be {wanted}: set"
            f" calico.dataplane to {do!r}, or migrate kube-proxy first (deploys/proxy_mode.py)"
        )


def node_refusals(found: CniNode, settings: Calico) -> Iterator[str]:
    """What one node still has of another CNI."""
    by_canal = settings.install == "canal"
    ours = canal.CONFLIST if by_canal else plan.CONFLIST
    yield from cni_guard.files(found.files, ours, settings.accept_cni_files, "calico")
    yield from cni_guard.devices(found, *(("Calico", "flannel") if by_canal else ("Calico",)))
