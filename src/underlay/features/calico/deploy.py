"""Install Calico, or bring the one that runs to the plan."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host, state

from underlay.cluster.of_run import api_of
from underlay.errors import ClusterError
from underlay.facts.cni import Cni, CniNode
from underlay.features import cni_guard, cni_run, net_conf
from underlay.features.calico import guard, rules
from underlay.features.calico.cluster import side_of
from underlay.features.calico.settings import Calico
from underlay.features.flannel.settings import Flannel
from underlay.features.fleet import fleet_of, load
from underlay.operations import flannel_device
from underlay.settings import refuse
from underlay.settings.cluster import Cluster

PLUGINS = "/opt/cni/bin"


@deploy("Calico")
def install() -> None:
    """Check every node, then change the cluster's objects; Calico does the rest on the nodes."""
    fleet = fleet_of(host.state.inventory)
    refuse(rules.problems(fleet))
    settings = load(host, Calico)
    side = side_of(host.state, fleet, api_of(host.state, load(host, Cluster)))
    if host.name not in side.addresses:
        host.log(f"{host.name}: is no node of the cluster: the inventory gives it no network")
        return
    # canal's flannel takes an existing device as it is, like flannel itself
    by_canal = settings.install == "canal"
    device = net_conf.devices(load(host, Flannel), side.plan)[0] if by_canal else None
    found: CniNode | None = host.get_fact(
        Cni, plugins=PLUGINS, device=device.name if device else "", rule=flannel_device.RULE
    )
    if found is None:
        raise ClusterError(f"{host.name}: could not be read; run it again with -v to see why")
    problems = [
        *guard.node_refusals(found, settings),
        *cni_guard.too_small(found, side.addresses[host.name], side.beneath[host.name]),
    ]
    old = cni_guard.old_pods(found, side.plan.pod_mtu)
    tuned = device is None or not flannel_device.differs(found, device)
    if side.job.empty and tuned and not (problems or old):
        return
    notes = [*side.notes]
    if old:
        notes.append(cni_guard.told(old, side.pods, side.plan.pod_mtu))
    cni_run.check(
        name="Check that Calico can be installed", job=side.job, problems=problems, notes=notes
    )
    if side.job.empty and tuned and not problems:
        return
    names = [n for n in side.addresses if state.is_host_in_limit(state.inventory.get_host(n))]
    cni_run.start(name="Stop here unless every node passed", job=side.job, hosts=names)
    cni_run.change(name="Bring Calico's objects to the plan", job=side.job)
    cni_run.finish(name="Stop here unless Calico's pods came up", job=side.job)
    if device is not None:
        flannel_device.device(
            name=f"Bring {device.name} to the plan", wanted=device, plugins=PLUGINS
        )
