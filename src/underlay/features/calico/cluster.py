"""What the API server says before Calico is installed, read once per run for all hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from underlay.addressing.chain import beneath
from underlay.cluster import Api, Kind, Object
from underlay.cluster.objects import (
    API_SERVER,
    CONFIG_MAP,
    CRD,
    DAEMON_SET,
    DEPLOYMENT,
    INSTALLATION,
    IP_POOL,
    IP_POOL_V3,
    NODE,
    POD,
    TIGERA_STATUS,
)
from underlay.errors import MissingError
from underlay.features import address_plan, net_conf
from underlay.features.address_plan import Plan
from underlay.features.calico import canal, guard, manifests, operator, plain, plan, rules
from underlay.features.calico.settings import Calico
from underlay.features.cni_job import CniRun, Job, was_cut
from underlay.features.cni_run import OncePerRun, stop
from underlay.features.flannel.settings import Flannel
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.preflight.settings import Preflight
from underlay.operations import cluster_objects, cluster_removals
from underlay.operations.cluster_change import contains, is_going
from underlay.settings import Fleet
from underlay.settings.fleet import HostSettings

#: Seconds for which everything must run: a calico-node that fails is asked for its readiness every
#: 10 s and loses it after three of them, and is restarted after six.
HOLD = 70.0


@dataclass(frozen=True)
class Side:
    """The cluster's side of one run.

    plan: of addresses and sizes; job: what to change; addresses: host -> its own address;
    beneath: host -> bytes that its interface must carry; pods: address -> name; notes: to be told.
    """

    plan: Plan
    job: Job
    addresses: dict[str, str]
    beneath: dict[str, int]
    pods: dict[str, str]
    notes: tuple[str, ...]


def read(fleet: Fleet, api: Api) -> Side:
    """Ask the API server what is there, and what installing Calico would change."""
    planned = address_plan.plan_of(fleet)
    if planned is None:
        raise ValueError("the rules let an inventory without a network section through")
    hosts = address_plan.members(fleet)
    first = hosts[0]
    settings = first.section(Calico)
    pools, served = _pools(api)
    mode = proxy_mode(api)
    named = first.section(KubeProxy).mode if first.names(KubeProxy) else ""
    installed = _installed(api)
    wanted = plan.pools(settings, planned.network)
    installation = plan.installation(settings, planned, mode or named)
    refusals = [
        *guard.install_refusals(
            settings, [*api.list(DAEMON_SET), *api.list(DEPLOYMENT)], installed
        ),
        *(
            _canal_refusals(api, first.section(Flannel), planned)
            if settings.install == "canal"
            else guard.pool_refusals(wanted, pools)
        ),
        *_own_refusals(api, settings, planned, installation),
        *guard.proxy_refusals(
            plan.dataplane(settings, mode or named), mode, follows=plan.follows_proxy(settings)
        ),
    ]
    stop("Calico", refusals)
    by_operator = settings.install == "operator"
    now = _upstream(first, planned, len(hosts), mode or named)
    version = plan.SERVED if served or (by_operator and settings.api_server) else plan.STORED
    if by_operator:
        now.append(installation)
        now += [plan.api_server()] if settings.api_server else []
    later = cluster_objects.compare(api, _later(settings, planned, version), settings.take_over)
    stop("Calico", list(guard.server_refusals(now, api.version())))
    now, crds = _without_known(api, now)
    compared = cluster_objects.compare(api, [*crds, *now], settings.take_over)
    stop("Calico", [*compared.refusals, *later.refusals])
    unused = () if rules.typha(settings, planned.network, len(hosts)) else plain.TYPHA
    removals, foreign = cluster_removals.surplus(
        api, unused if settings.install == "manifest" else (), settings.take_over
    )
    return Side(
        plan=planned,
        job=Job(
            cni="calico", api=api, run=CniRun(), changes=compared.changes,
            waits_for=_waits_for(settings.install), wait_s=settings.wait_s,
            cut=was_cut(api), backup=first.section(Preflight).backup, hold_s=HOLD,
            later=later.changes,
            take_over=settings.take_over,
            removals=removals,
            verify=lambda: _operated(api, wanted, settings.api_server) if by_operator else "",
        ),
        addresses={host.name: address_plan.address_of(host) for host in hosts},
        beneath={place.name: beneath(place)[-1].mtu for place in address_plan.places(fleet)},
        pods={
            str(pod["status"]["podIP"]): f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            for pod in api.list(POD)
            if pod.get("status", {}).get("podIP") and not pod["spec"].get("hostNetwork")
        },
        notes=tuple(_notes(version == plan.STORED and bool(later.changes), foreign)),
    )  # fmt: skip


def _notes(stored: bool, foreign: Sequence[str]) -> Iterator[str]:
    """stored: kinds are written past their API; foreign: objects that the plan has no more."""
    if stored:
        yield f"{plan.SERVED} is not served: {plan.STORED} is written directly, which checks less"
    for found in foreign:
        yield f"{found} is not used any more and is left there; delete it when nobody else needs it"


def _operated(api: Api, wanted: Sequence[plan.WantedPool], served: bool) -> str:
    """What the operator has not done yet; served: it is to bring Calico's API server, too."""
    for name, kind in operator.STATUSES.items():
        of = api.find(kind, "default")
        if of is None or (kind is API_SERVER and not served):
            continue
        generation = int(of["metadata"].get("generation", 1))
        text = operator.complaint(name, api.find(TIGERA_STATUS, name), generation)
        if text:
            return text
    return "; ".join(operator.stale_pools(wanted, _pools(api)[0]))


def proxy_mode(api: Api) -> str:
    """The mode that the ConfigMap of kube-proxy says, "" without one."""
    found = api.find(CONFIG_MAP, "kube-proxy", "kube-system")
    if found is None:
        return ""
    try:
        config: Any = yaml.safe_load(found.get("data", {}).get("config.conf", ""))
    except yaml.YAMLError:
        return ""
    return str(config.get("mode") or "iptables") if isinstance(config, dict) else ""


def _pools(api: Api) -> tuple[list[Object], bool]:
    """Live IPPools, and whether projectcalico.org/v3 is served."""
    try:
        return api.list(IP_POOL_V3), True
    except MissingError:
        pass
    try:
        return api.list(IP_POOL), False
    except MissingError:
        return [], False


def _installed(api: Api) -> Object | None:
    return api.find(INSTALLATION, "default")


def _own_refusals(api: Api, settings: Calico, planned: Plan, installation: Object) -> Iterator[str]:
    """What the way of installing cannot change: an Installation, or a manifest's ConfigMap."""
    if settings.install == "operator":
        yield from guard.installation_refusals(
            installation, _installed(api), follows=plan.follows_proxy(settings)
        )
    elif settings.install == "manifest":
        live = api.find(CONFIG_MAP, plain.CONFIG_MAP, plain.NAMESPACE)
        yield from guard.config_refusals(planned.network.bgp, live)


def _canal_refusals(api: Api, settings: Flannel, planned: Plan) -> list[str]:
    """What flannel's part of canal cannot change, and what it needs of every Node."""
    found = list(net_conf.node_refusals(api.list(NODE), planned.network))
    live = api.find(CONFIG_MAP, canal.CONFIG_MAP, canal.NAMESPACE)
    if live is not None:
        found += net_conf.refusals(canal.net_conf(settings, planned), live)
    return found


def _upstream(host: HostSettings, planned: Plan, nodes: int, mode: str) -> list[Object]:
    """Upstream's objects with the plan's values."""
    settings = host.section(Calico)
    found: list[Object] = []
    known = rules.sums(settings)
    for name in rules.files(settings, planned.network, nodes):
        data = manifests.text(
            name, version=settings.version, wanted=known[name], source=settings.manifests
        )
        found += manifests.objects(data, settings.registry)
    if settings.install == "manifest":
        found = plain.objects(found, settings, planned, proxy_mode=mode, nodes=nodes)
    elif settings.install == "canal":
        found = canal.objects(found, host.section(Flannel), planned)
    return found


def _later(settings: Calico, planned: Plan, version: str) -> list[Object]:
    """Objects of kinds that are served only when Calico runs."""
    namespace = "calico-system" if settings.install == "operator" else plain.NAMESPACE
    wanted = [
        plan.felix(settings, planned.network, version),
        plan.metrics(
            settings, namespace, "canal" if settings.install == "canal" else "calico-node"
        ),
    ]
    if settings.install == "manifest":
        # calico-node makes the first pool of each family by itself, with the same values
        wanted += [plan.ip_pool(pool, version) for pool in plan.pools(settings, planned.network)]
    return [found for found in wanted if found is not None]


def _without_known(api: Api, found: list[Object]) -> tuple[list[Object], list[Object]]:
    """The rest, and the CRDs that are not as wanted: megabytes that need not be sent to compare."""
    crds = [one for one in found if one["kind"] == "CustomResourceDefinition"]
    there = api.list(CRD) if crds else []
    live = {one["metadata"]["name"]: one for one in there if not is_going(one)}
    changed = [one for one in crds if not contains(live.get(one["metadata"]["name"]), one)]
    return [one for one in found if one not in crds], changed


def _waits_for(install: str) -> tuple[tuple[Kind, str, str | None], ...]:
    if install == "operator":
        return (
            (DEPLOYMENT, "tigera-operator", "tigera-operator"),
            (DAEMON_SET, "calico-node", "calico-system"),
            (DEPLOYMENT, "calico-kube-controllers", "calico-system"),
        )
    return (
        (DAEMON_SET, canal.DAEMON_SET if install == "canal" else plain.DAEMON_SET, plain.NAMESPACE),
        (DEPLOYMENT, "calico-kube-controllers", plain.NAMESPACE),
    )


#: The side of a run; ClusterError lists every reason against it.
side_of = OncePerRun(read)
