"""The operations of a migration: one per step, each shown by `--dry`, each safe to run again."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.operation import operation
from pyinfra.api.state import StateStage
from pyinfra.context import host, state

from underlay.cluster.objects import CONFIG_MAP
from underlay.features.kube_proxy import actions, finding, plan, probes
from underlay.features.kube_proxy.job import Job
from underlay.features.kube_proxy.plan import Work
from underlay.features.kube_proxy.run import is_lost
from underlay.features.kube_proxy.units import MIGRATING, NAMESPACE, PREVIOUS
from underlay.operations import kube_proxy, outcome

Steps = Generator[PyinfraCommand, None, None]


@operation()
def check(job: Job) -> Steps:
    """Refuse before anything is changed, or tell what will be different."""
    accepted = job.settings.accept
    refused = finding.refusals(job.findings, accepted)
    if refused:
        if state.current_stage is not StateStage.Execute:
            # a plan that will be refused says so
            for sentence in refused:
                outcome.note(host, f"{host.name}: {sentence}")
        job.run.fail(host.name, refused[0])
        yield from outcome.fail(*(f"{host.name}: {sentence}" for sentence in refused))
        return
    for sentence in finding.notes(job.findings, accepted):
        outcome.note(host, f"{host.name}: {sentence}")
    host.noop("every check passed")


@operation()
def start(job: Job, hosts: Sequence[str]) -> Steps:
    """A node that failed its check, or dropped out, stops the whole run before the first change."""
    lost = [name for name in hosts if is_lost(state, name)]
    if lost and not job.run.halted:
        job.run.halted = f"{lost[0]}: not reachable in this run; bring it back or --exclude it"
    if job.run.halted:
        yield from outcome.fail(f"{host.name}: not changed, because {job.run.halted}")
    else:
        yield FunctionCommand(actions.claim, [job], {})


@operation()
def configure(job: Job) -> Steps:
    """Write the ConfigMap; of the hosts that share it, the first does it."""
    unit = job.unit
    if not job.run.writes(unit.config_map, host.name):
        host.noop(f"{job.run.writers[unit.config_map]} does it")
        return
    current = job.api.get(CONFIG_MAP, unit.config_map, NAMESPACE)["data"][unit.key]
    marks: actions.Marks = {MIGRATING: job.mode}
    if job.back:
        marks = {**marks, PREVIOUS: None}
    elif plan.effective_mode(unit.config) != job.mode:
        marks = {**marks, PREVIOUS: unit.config}
    outcome.show_lines(host, f"ConfigMap {unit.config_map}", current, job.config)
    yield FunctionCommand(actions.write_config, [job, job.config, marks], {})


@operation()
def gate(job: Job, pause: int = 0) -> Steps:
    """Keeps the batches apart, `pause` seconds when one was switched; see `underlay.rolling`."""
    host.noop("the batch before is done")
    if pause and job.run.switched and not job.run.halted:
        yield FunctionCommand(actions.pause, [job, pause], {})


@operation()
def record(job: Job) -> Steps:
    """Write the snapshot of this node before anything of it changes."""
    if job.work is not Work.SWITCH or job.old is not None or job.run.halted:
        host.noop("recorded before" if job.old else "nothing to record")
        return
    lines = host.get_fact(kube_proxy.ProbeLines, script=probes.script(job.probes))
    if not lines:
        # without a baseline nothing could be judged afterwards
        yield FunctionCommand(
            actions.give_up, [job, "its Services could not be probed; see -vv"], {}
        )
        return
    baseline = probes.outcomes(lines, job.probes)
    data = {"mode": job.before.mode, "config": job.base, "baseline": baseline}
    yield _journal(job, "snapshot", data)


@operation()
def switch(job: Job) -> Steps:
    """Restart kube-proxy so that it takes up the configuration."""
    if job.work is not Work.SWITCH or job.run.halted:
        host.noop(f"runs in mode {job.before.mode}" if not job.run.halted else "halted")
        return
    yield FunctionCommand(actions.switch, [job, job.mode], {})
    yield _journal(job, "switched", {"mode": job.mode})


@operation()
def prove(job: Job) -> Steps:
    """Probe until all answers as before, remove what the other mode left, and probe again."""
    if job.work is Work.NOTHING or _out(job):
        host.noop("nothing to prove")
        return
    yield FunctionCommand(actions.prove, [job], {})
    yield FunctionCommand(actions.clean, [job, job.mode], {})
    yield FunctionCommand(actions.prove, [job], {})


@operation()
def commit(job: Job) -> Steps:
    """Write that this node is done."""
    if job.work is Work.NOTHING or _out(job):
        host.noop("nothing to commit")
        return
    yield FunctionCommand(actions.commit, [job], {})


@operation()
def undo(job: Job) -> Steps:
    """Bring this node back to what it ran before, the ConfigMap first."""
    yield from _undo(job)


@operation()
def undo_switched(job: Job) -> Steps:
    """The same for a node that this migration switched before another one failed."""
    cut_short = job.work is not Work.SWITCH and job.old is not None
    mine = host.name in job.run.switched or cut_short
    if not mine or host.name in job.run.failed:
        host.noop("was not switched")
        return
    if job.settings.on_failure == "halt":
        host.noop(f"stays in mode {job.mode} (kube_proxy.on_failure is halt)")
        return
    yield from _undo(job)


@operation()
def finish(job: Job) -> Steps:
    """Fail the host when anything failed: a run with a rollback must not end in success."""
    yield FunctionCommand(actions.release, [job], {})
    sentence = job.run.failed.get(host.name)
    if sentence:
        yield from outcome.fail(f"{host.name}: {sentence}; {_ended(job)}")
    elif job.run.halted:
        yield from outcome.fail(f"{host.name}: {_ended(job)}, because {job.run.halted}")
    elif job.run.writers.get(job.unit.config_map) == host.name:
        # what to go back to stays, that a migration is under way does not
        yield FunctionCommand(actions.write_config, [job, job.config, {MIGRATING: None}], {})


def _undo(job: Job) -> Steps:
    config = job.old.config if job.old else job.base
    mode = job.old.mode if job.old else job.before.mode
    yield FunctionCommand(actions.write_config, [job, config, actions.NO_MARKS], {})
    yield FunctionCommand(actions.restore, [job, mode], {})
    yield _journal(job, "rolled-back", {"mode": mode, "config": plan.digest(config)})
    yield FunctionCommand(actions.tell, [f"{host.name}: back in mode {mode}"], {})


def _journal(job: Job, event: str, data: Mapping[str, object]) -> FunctionCommand:
    return FunctionCommand(actions.write_entry, [job, event, dict(data)], {})


def _out(job: Job) -> bool:
    """Whether this node must not go forward: it failed, or the run was halted before its turn."""
    stopped = bool(job.run.halted) and host.name not in job.run.switched
    return host.name in job.run.failed or stopped


def _ended(job: Job) -> str:
    if job.run.lost:
        return "it was left as it is"
    if job.back:
        return "the rollback is not complete, run it again"
    if host.name not in job.run.switched:
        return "it was not switched"
    if job.settings.on_failure == "halt" and host.name not in job.run.failed:
        return (
            f"it stays in mode {job.mode} until its kube-proxy restarts, for the ConfigMap says"
            f" {job.before.mode} again"
        )
    return f"it runs in mode {job.before.mode} again"
