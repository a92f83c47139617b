"""Install flannel, or bring the one that runs to the plan."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host, state

from underlay.cluster.of_run import api_of
from underlay.errors import ClusterError
from underlay.facts.cni import Cni, CniNode
from underlay.features import cni_guard, cni_run, net_conf
from underlay.features.flannel import addresses, guard, rules
from underlay.features.flannel.cluster import Side, side_of
from underlay.features.flannel.settings import Flannel
from underlay.features.fleet import fleet_of, load
from underlay.operations import flannel_device
from underlay.operations.flannel_device import RULE
from underlay.settings import refuse
from underlay.settings.cluster import Cluster
from underlay.settings.network import Network


@deploy("flannel")
def install() -> None:
    """Check every node, then the cluster's objects, then the device of each node."""
    fleet = fleet_of(host.state.inventory)
    refuse(rules.problems(fleet))
    settings = load(host, Flannel)
    side = side_of(host.state, fleet, api_of(host.state, load(host, Cluster)))
    if host.name not in side.addresses:
        host.log(f"{host.name}: is no node of the cluster: the inventory gives it no network")
        return
    devices = net_conf.devices(settings, side.plan)
    found = _read(settings, side, devices[0].name if devices else "")
    problems = [
        *guard.node_refusals(found, settings, load(host, Network)),
        *addresses.not_there(side.annotations[host.name], found.addresses),
        *cni_guard.too_small(found, side.addresses[host.name], side.beneath[host.name]),
    ]
    old = cni_guard.old_pods(found, side.plan.pod_mtu)
    tuned = True
    for number, device in enumerate(devices):
        # one reading has the offloads of one device
        node = flannel_device.read(device, settings.cni_bin) if number else found
        problems += flannel_device.refusals(node or found, device)
        tuned = tuned and not flannel_device.differs(node or found, device)
    if side.job.empty and tuned and not (problems or old):
        return
    notes = [cni_guard.told(old, side.pods, side.plan.pod_mtu)] if old else []
    cni_run.check(
        name="Check that flannel can be installed", job=side.job, problems=problems, notes=notes
    )
    if side.job.empty and tuned and not problems:
        return
    names = [n for n in side.addresses if state.is_host_in_limit(state.inventory.get_host(n))]
    cni_run.start(name="Stop here unless every node passed", job=side.job, hosts=names)
    cni_run.change(name="Bring flannel's objects to the plan", job=side.job)
    cni_run.finish(name="Stop here unless flannel's pods came up", job=side.job)
    for device in devices:
        flannel_device.device(
            name=f"Bring {device.name} to the plan", wanted=device, plugins=settings.cni_bin
        )


def _read(settings: Flannel, side: Side, device: str) -> CniNode:
    # only host-gw depends on how the others are reached
    others = [
        address
        for name, address in side.addresses.items()
        if name != host.name and address and side.plan.network.encapsulation == "none"
    ]
    found: CniNode | None = host.get_fact(
        Cni, plugins=settings.cni_bin, device=device, rule=RULE, nodes=tuple(others)
    )
    if found is None:
        raise ClusterError(f"{host.name}: could not be read; run it again with -v to see why")
    return found
