"""Bring Calico's BGP from the mesh to reflectors, to other reflectors, or back to the mesh.

The change is one of the cluster, so that one host carries it out: the first of `control_plane`,
otherwise the first of the inventory. It keeps the journal. The others are only read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.context import host, state

from underlay.cluster import Api, drain
from underlay.cluster.leased import leased
from underlay.cluster.of_run import GROUP, api_of
from underlay.cluster.rights import denied
from underlay.errors import InventoryError
from underlay.facts.journal import Journals
from underlay.features.fleet import fleet_of, load
from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.route_reflectors import checks, plan, rights, steps, view
from underlay.features.route_reflectors.job import Job, Run, open_snapshot
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.features.route_reflectors.status import Status
from underlay.features.route_reflectors.store import Calicoctl, Store, choose
from underlay.operations import calicoctl
from underlay.settings.cluster import Cluster


@deploy("Route reflectors")
def reflect() -> None:
    """What the section `route_reflectors` asks for; nothing without one."""
    fleet = fleet_of(host.state.inventory)
    if not any(found.names(RouteReflectors) for found in fleet):
        return
    leader = _leader()
    if not state.is_host_in_limit(state.inventory.get_host(leader)):
        raise InventoryError(
            f"{leader}: keeps the journal of the route reflectors, and --limit or --exclude leaves"
            " it out; add it"
        )
    if host.name == leader:
        _convert()


def _leader() -> str:
    fleet = fleet_of(host.state.inventory)
    first = next(iter(fleet.in_group(GROUP)), None) or next(iter(fleet))
    return first.name


def _convert() -> None:
    settings = load(host, RouteReflectors)
    run = Run()
    plain = api_of(host.state, load(host, Cluster))
    api = leased(plain, run.hold)
    store = choose(api, lambda: _calicoctl(run))
    node_of = node_names(host.state.inventory)
    now = view.read(api, store, settings.label)
    target = plan.wanted(settings, node_of)
    snapshot = open_snapshot((host.get_fact(Journals) or {}).get(plan.CHANGE, ()))
    change = plan.change(now.state, target)
    if not change and snapshot is None:
        return
    pods = {name: drain.pods(api, name) for name in change.nodes if name in now.every}
    if snapshot is not None:
        # what a run that was cut short has begun to empty is not refused for what is left in it
        begun = set(snapshot.schedulable) - now.schedulable
        pods = {name: found for name, found in pods.items() if name not in begun}
    run.snapshot, run.changed = snapshot, snapshot is not None
    job = Job(
        api=api, store=store, settings=settings, view=now, target=target,
        # what asks calico-node for its sessions changes nothing
        status=Status(host.state, plain, _reachable(node_of), settings.status),
        run=run,
        refused=(
            *denied(api, rights.needed(settings, store.group)),
            *checks.refusals(settings, now, target, pods),
        ),
    )  # fmt: skip
    _add(job)


def _add(job: Job) -> None:
    """The operations, in the order that loses no route."""
    goal = "the mesh" if job.target.mesh else f"reflectors {', '.join(job.target.marks)}"
    on: dict[str, Any] = {"job": job, "_ignore_errors": True}
    steps.check(name=f"Check that BGP can go to {goal}", job=job)
    steps.start(name="Take the lease and record every node's routes", **on)
    steps.safety_net(name="Switch the mesh on while reflectors change", **on)
    steps.clear(name=f"Take out of service: {', '.join(job.change.nodes) or 'no node'}", **on)
    steps.reflect(name="Set cluster ids and labels, then the BGPPeers", **on)
    if not job.target.mesh:
        # before anything old goes, what is new has to carry all
        name = "Gate: every session with a reflector, and every route as before"
        steps.prove(name=name, expected=_both(job), **on)
    steps.retire(name="Delete BGPPeers, ids and labels no longer wanted", **on)
    if job.change.lose or job.change.drop:
        name = "Gate: the same without what was retired"
        steps.prove(name=name, expected=replace(job.target, mesh=True), **on)
    word = "on" if job.target.mesh else "off"
    steps.switch(name=f"Switch the mesh {word} and verify again", **on)
    steps.finish(name="Uncordon and commit", **on)
    steps.undo(
        name="Roll back to what was there, if a gate failed",
        _if=lambda: bool(job.run.halted),
        **on,
    )
    steps.end(name="End the run with what happened", job=job)


def _both(job: Job) -> plan.State:
    """Old and new together, with nothing retired; the mesh on unless it is all that changes."""
    now, target = job.view.state, job.target
    mesh = now.mesh or job.change.rearranges
    return plan.State(mesh, {**now.marks, **target.marks}, {**now.peers, **target.peers})


def node_names(inventory: Inventory) -> dict[str, str]:
    """Host to the name of its node."""
    return {
        found.name: found.section(KubeProxy).node_name or found.name
        for found in fleet_of(inventory)
    }


def _reachable(node_of: dict[str, str]) -> dict[str, Host]:
    """Node to its host, for hosts of this run that are connected."""
    return {
        node_of[found.name]: found
        for found in state.inventory
        if found.connected and found in state.active_hosts and state.is_host_in_limit(found)
    }


def _calicoctl(run: Run) -> tuple[Calicoctl, str] | None:
    """calicoctl on this host, which writes while the run holds its lease.

    Only a control-plane host has the admin.conf that it needs.
    """
    if GROUP not in host.groups:
        return None
    program = calicoctl.find(host)
    if not program:
        return None
    conf = load(host, Cluster).admin_conf
    call = calicoctl.runner(host, program, conf)

    def held(words: tuple[str, ...], text: str) -> str:
        if words[0] != "get":
            run.hold()
        return call(words, text)

    return held, host.name


def store_of(api: Api) -> Store:
    """The store of a run that only reads: without calicoctl."""
    return choose(api, lambda: None)
