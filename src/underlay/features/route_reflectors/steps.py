"""The operations of a conversion: one per step, each shown by `--dry`, each safe to run again."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import yaml
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.operation import operation
from pyinfra.api.state import StateStage
from pyinfra.context import host, state

from underlay.features.route_reflectors import actions
from underlay.features.route_reflectors.job import Job
from underlay.features.route_reflectors.plan import State
from underlay.operations import outcome

Steps = Generator[PyinfraCommand, None, None]


@operation()
def check(job: Job) -> Steps:
    """Refuse before anything is changed."""
    if not job.refused:
        host.noop("every check passed")
        return
    if state.current_stage is not StateStage.Execute:
        # a plan that will be refused says so
        for sentence in job.refused:
            outcome.note(host, sentence)
    yield from outcome.fail(*(f"{host.name}: {sentence}" for sentence in job.refused))


@operation()
def start(job: Job) -> Steps:
    """Take the lease, then write down what is there and every node's routes."""
    yield FunctionCommand(actions.claim, [job], {})
    yield FunctionCommand(actions.record, [job], {})


@operation()
def safety_net(job: Job) -> Steps:
    """While sessions of reflectors change, the mesh carries the routes of all other nodes."""
    before = job.view.state
    if job.run.halted or before.mesh or not job.change.rearranges:
        host.noop("halted" if job.run.halted else "the mesh is on, or stays off")
        return
    yield FunctionCommand(actions.mesh, [job, True], {})
    yield FunctionCommand(actions.prove, [job, replace(before, mesh=True)], {})


@operation()
def clear(job: Job) -> Steps:
    """Take the nodes whose sessions will drop out of service."""
    if job.run.halted or not job.change.nodes or job.settings.loaded == "accept":
        host.noop("halted" if job.run.halted else "nothing to cordon")
        return
    yield FunctionCommand(actions.clear, [job], {})


@operation()
def reflect(job: Job) -> Steps:
    """Cluster ids and labels, then the BGPPeers that select by them."""
    change = job.change
    if job.run.halted or not (change.gain or change.put):
        host.noop("halted" if job.run.halted else "ids, labels and peers are there")
        return
    _show(job, job.view.state, job.target)
    yield FunctionCommand(actions.mark, [job], {})
    yield FunctionCommand(actions.peer, [job], {})


@operation()
def retire(job: Job) -> Steps:
    """Peers first, then ids and labels of what is no reflector any more."""
    change = job.change
    if job.run.halted or not (change.lose or change.drop):
        host.noop("halted" if job.run.halted else "nothing to retire")
        return
    if not (change.gain or change.put):
        _show(job, job.view.state, job.target)
    yield FunctionCommand(actions.unpeer, [job], {})
    yield FunctionCommand(actions.unmark, [job], {})


@operation()
def prove(job: Job, expected: State) -> Steps:
    """The gate: every node has its sessions and, at least, the routes that it had."""
    if job.run.halted:
        host.noop("halted")
        return
    yield FunctionCommand(actions.prove, [job, expected], {})


@operation()
def switch(job: Job) -> Steps:
    """The mesh, last."""
    if job.run.halted:
        host.noop("halted")
        return
    yield FunctionCommand(actions.mesh, [job, job.target.mesh], {})
    yield FunctionCommand(actions.prove, [job, job.target], {})


@operation()
def finish(job: Job) -> Steps:
    """Uncordon, and write that all is done."""
    if job.run.halted:
        host.noop("halted")
        return
    yield FunctionCommand(actions.uncordon, [job], {})
    yield FunctionCommand(actions.commit, [job, "committed"], {})


@operation()
def undo(job: Job) -> Steps:
    """Bring everything back to what was there."""
    yield FunctionCommand(actions.undo, [job], {})


@operation()
def end(job: Job) -> Steps:
    """Fail the host when anything failed: a run with a rollback must not end in success."""
    yield FunctionCommand(actions.release, [job], {})
    if job.run.halted:
        yield from outcome.fail(*(f"{host}: {text}" for host, text in job.run.failed.items()))


def _show(job: Job, old: State, new: State) -> None:
    outcome.show_lines(host, "route reflectors", _text(job, old), _text(job, new))


def _text(job: Job, found: State) -> str:
    label = job.settings.label
    shown: Mapping[str, Any] = {
        "nodeToNodeMeshEnabled": found.mesh,
        "nodes": {
            name: {"routeReflectorClusterID": mark.cluster_id, label: mark.label}
            for name, mark in sorted(found.marks.items())
        },
        "peers": {name: dict(spec) for name, spec in sorted(found.peers.items())},
    }
    return yaml.safe_dump(shown, sort_keys=False, width=200)
