"""What Calico's operator says of its work, and whether the pools became what it was told. Pure.

The rule: right after a change of the Installation, calico-node still runs as before and looks
ready; only an operator that has seen that generation may say that all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from underlay.addressing.overlap import network
from underlay.cluster import Kind
from underlay.cluster.objects import API_SERVER, INSTALLATION
from underlay.features.calico.plan import WantedPool

Object = Mapping[str, Any]

#: TigeraStatus -> the object whose generation its conditions are about (tigera/operator v1.42,
#: pkg/controller/status, written every 5 s).
STATUSES: dict[str, Kind] = {
    "calico": INSTALLATION, "ippools": INSTALLATION, "apiserver": API_SERVER,
}  # fmt: skip


def complaint(name: str, status: Object | None, generation: int) -> str:
    """Why a TigeraStatus does not say that a generation runs, "" when it does."""
    found = {
        str(one.get("type")): one
        for one in ((status or {}).get("status") or {}).get("conditions") or []
    }
    said = f"Calico's operator (TigeraStatus {name})"
    seen = min((int(one.get("observedGeneration") or 0) for one in found.values()), default=0)
    if _is(found, "Degraded"):
        return f"{said} is Degraded: {_told(found['Degraded'])}"
    if not found:
        return f"{said} says nothing yet"
    if seen < generation:
        return f"{said} has not taken the change up: it has seen {seen} of {generation} generations"
    if _is(found, "Progressing"):
        return f"{said} is Progressing: {_told(found['Progressing'])}"
    return "" if _is(found, "Available") else f"{said} is not Available"


def _is(found: Mapping[str, Object], kind: str) -> bool:
    return found.get(kind, {}).get("status") == "True"


def _told(condition: Object) -> str:
    parts = (str(condition.get(key) or "") for key in ("reason", "message"))
    return ": ".join(part for part in parts if part) or "without a reason"


def stale_pools(wanted: Sequence[WantedPool], live: Iterable[Object]) -> Iterator[str]:
    """Pools that do not have yet what the Installation says of them."""
    by_cidr = {str(network(one["spec"]["cidr"])): one for one in live}
    for pool in wanted:
        found = by_cidr.get(str(network(pool.cidr)))
        if found is None:
            yield f"IPPool {pool.name} ({pool.cidr}) is not there"
            continue
        spec = found["spec"]
        for key, now, then in (
            ("natOutgoing", bool(spec.get("natOutgoing")), pool.nat_outgoing),
            ("nodeSelector", spec.get("nodeSelector") or "all()", pool.node_selector),
            ("disableBGPExport", bool(spec.get("disableBGPExport")), pool.disable_bgp_export),
        ):
            if now != then:
                yield f"IPPool {found['metadata']['name']}: {key} is still {now}"
