"""What the API server says before flannel is installed, read once per run for all hosts."""

from __future__ import annotations

from dataclasses import dataclass

from underlay.addressing.chain import beneath
from underlay.cluster import Api
from underlay.cluster.api import FIELD_MANAGER
from underlay.cluster.objects import CONFIG_MAP, DAEMON_SET, DEPLOYMENT, NODE, POD
from underlay.features import address_plan, net_conf
from underlay.features.address_plan import Plan
from underlay.features.cni_job import CniRun, Job, was_cut
from underlay.features.cni_run import OncePerRun, stop
from underlay.features.flannel import addresses, guard, plan
from underlay.features.flannel.settings import Flannel
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.preflight.settings import Preflight
from underlay.operations import cluster_objects
from underlay.settings import Fleet

#: Seconds for which flannel's pods must run: one that ends at its start counts as available for a
#: moment, and its next attempts are 10 and 20 s later.
HOLD = 30.0


@dataclass(frozen=True)
class Side:
    """The cluster's side of one run.

    plan: of addresses and sizes; job: what to change; addresses: host -> its own address;
    annotations: host -> those of its Node; beneath: host -> bytes of a packet that its interface
    must carry; pods: address -> name.
    """

    plan: Plan
    job: Job
    addresses: dict[str, str]
    annotations: dict[str, dict[str, str]]
    beneath: dict[str, int]
    pods: dict[str, str]


def read(fleet: Fleet, api: Api) -> Side:
    """Ask the API server what is there, and what installing flannel would change."""
    planned = address_plan.plan_of(fleet)
    if planned is None:
        raise ValueError("the rules let an inventory without a network section through")
    hosts = address_plan.members(fleet)
    first = hosts[0]
    settings = first.section(Flannel)
    nodes = {node["metadata"]["name"]: node for node in api.list(NODE)}
    names = {host.name: host.section(KubeProxy).node_name or host.name for host in hosts}
    refusals = [
        f"{host}: no Node {node!r} in the cluster; join it, or set kube_proxy.node_name"
        for host, node in names.items()
        if node not in nodes
    ]
    refusals += net_conf.node_refusals(nodes.values(), planned.network)
    live = api.find(CONFIG_MAP, plan.CONFIG_MAP, plan.NAMESPACE)
    workloads = [*api.list(DAEMON_SET), *api.list(DEPLOYMENT)]
    refusals += guard.cluster_refusals(net_conf.wanted(settings, planned), live, workloads)
    wanted = plan.objects(settings, planned)
    annotated = {host.name: addresses.of_node(host) for host in hosts}
    for host, node in names.items():
        if node not in nodes:
            continue
        surplus = addresses.surplus(nodes[node], annotated[host])
        refusals += addresses.refusals(nodes[node], surplus, {FIELD_MANAGER, *settings.take_over})
        own = plan.node_object(node, annotated[host], surplus)
        wanted += [own] if own else []
    stop("flannel", refusals)
    compared = cluster_objects.compare(api, wanted, settings.take_over)
    stop("flannel", compared.refusals)
    return Side(
        plan=planned,
        job=Job(
            cni="flannel", api=api, run=CniRun(), changes=compared.changes,
            waits_for=((DAEMON_SET, plan.DAEMON_SET, plan.NAMESPACE),), wait_s=settings.wait_s,
            cut=was_cut(api), backup=first.section(Preflight).backup, hold_s=HOLD,
        ),
        addresses={host.name: address_plan.address_of(host) for host in hosts},
        annotations=annotated,
        beneath={place.name: beneath(place)[-1].mtu for place in address_plan.places(fleet)},
        pods={
            str(pod["status"]["podIP"]): f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            for pod in api.list(POD)
            if pod.get("status", {}).get("podIP") and not pod["spec"].get("hostNetwork")
        },
    )  # fmt: skip


#: The side of a run; ClusterError lists every reason against it.
side_of = OncePerRun(read)
