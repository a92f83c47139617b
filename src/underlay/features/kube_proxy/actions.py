"""What the steps of a migration carry out on a node and in the cluster, while the run executes.

The rule: pyinfra also calls the body of an operation to find out whether it would change anything.
So whatever has an effect, were it only a note of what happened in this run, is done here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from pyinfra.api.host import Host
from pyinfra.api.state import State

from underlay import direct, journal
from underlay.cluster.lease import Lease
from underlay.cluster.objects import CONFIG_MAP
from underlay.errors import ClusterError
from underlay.facts.kube_proxy import KubeProxyNode, NodeProxy
from underlay.features.kube_proxy import plan, probes, service
from underlay.features.kube_proxy.job import Job
from underlay.features.kube_proxy.plan import Snapshot
from underlay.features.kube_proxy.rights import LEASE_NAME
from underlay.features.kube_proxy.run import is_lost
from underlay.features.kube_proxy.units import MIGRATING, NAMESPACE, PREVIOUS
from underlay.operations import kube_proxy, leftovers, outcome, watch
from underlay.operations.files import append_entry

#: Annotations of the ConfigMap to set; None removes one.
Marks = Mapping[str, str | None]

#: Neither a migration under way nor a configuration to go back to.
NO_MARKS: Marks = {MIGRATING: None, PREVIOUS: None}

_claiming = threading.Lock()


def claim(state: State, host: Host, job: Job) -> bool:
    """Take the lease of the cluster for this run; the first host that comes here does it."""
    with _claiming:
        if job.run.lease is not None or job.run.halted:
            return not job.run.halted
        lease = Lease(job.api, LEASE_NAME, NAMESPACE)
        try:
            refused = lease.acquire(lambda text: host.log(f"{host.name}: {text}"))
        except ClusterError as error:
            refused = str(error)
        if refused:
            job.run.fail(host.name, refused)
            host.log(f"{host.name}: {refused}", outcome.ERROR)
            return False
        job.run.lease = lease
    return True


def release(state: State, host: Host, job: Job) -> bool:
    """Give the lease back when no host has anything left to do."""
    job.run.finished.add(host.name)
    here = (name for name in job.run.hosts if not is_lost(state, name))
    if job.run.finished.issuperset(here):
        job.run.give_back()
    return True


def switch(state: State, host: Host, job: Job, mode: str) -> bool:
    """Restart kube-proxy so that it runs in `mode`, its Services watched meanwhile."""
    if not kube_proxy.attempt(state, host, job.run, lambda h: service.take_out(h, job)):
        return False
    job.run.switched.append(host.name)
    host.get_fact(
        watch.Started, targets=job.watched, seconds=2 * job.settings.wait_seconds
    )  # ends by itself if nobody collects it
    return kube_proxy.attempt(state, host, job.run, lambda h: _restart(h, job, mode))


def prove(state: State, host: Host, job: Job) -> bool:
    """Probe until everything answers as before, or the time is over."""
    return kube_proxy.attempt(state, host, job.run, lambda h: _judge(h, job))


def clean(state: State, host: Host, job: Job, mode: str) -> bool:
    """Remove what other modes left, and look again: what is still there fails the step."""
    return kube_proxy.attempt(state, host, job.run, lambda h: _clean(h, job, mode))


def restore(state: State, host: Host, job: Job, mode: str) -> bool:
    """Bring kube-proxy back to `mode`; nothing to do when this run never touched it."""
    now = host.get_fact(kube_proxy.Mode, metrics=job.metrics)
    untouched = host.name not in job.run.switched and now == mode
    try:
        sentence = "" if untouched else _restart(host, job, mode) or _clean(host, job, mode)
        if not sentence:
            # one whose Services are not proved again takes no pods
            service.put_back(host, job)
    except ClusterError as error:
        sentence = str(error)
    _seen(host, job)
    if sentence:
        host.log(f"{host.name}: rollback: {sentence}", outcome.ERROR)
    return not sentence


def commit(state: State, host: Host, job: Job) -> bool:
    """Write that this node is done, with what its Services answered and what the watch saw."""
    seen = _seen(host, job)
    data: dict[str, object] = {"mode": job.mode, "config": plan.digest(job.config)}
    data["probes"] = answers = dict(job.run.answers.get(host.name, {}))
    if unproved := probes.untried(answers):
        outcome.note(host, f"{host.name}: {unproved}")
    data["watched"] = [entry.to_json() for entry in seen]
    if not kube_proxy.attempt(state, host, job.run, lambda h: _put_back(h, job)):
        return False
    return write_entry(state, host, job, "rolled-back" if job.back else "committed", data)


def node_of(host: Host, job: Job, *, chains: bool = False) -> NodeProxy | None:
    """The node as it is now."""
    found: NodeProxy | None = host.get_fact(
        KubeProxyNode, modules=(), change=plan.CHANGE, metrics=job.metrics, chains=chains
    )
    return found


def _put_back(host: Host, job: Job) -> str:
    service.put_back(host, job)
    return ""


def _restart(host: Host, job: Job, mode: str) -> str:
    place = kube_proxy.Place(job.api, NAMESPACE, job.unit.daemon_set, job.node, job.metrics)
    return kube_proxy.restart(host, place, mode=mode, wait_seconds=job.settings.wait_seconds)


def _seen(host: Host, job: Job) -> tuple[watch.Watched, ...]:
    """End the watch and tell what it saw."""
    if host.name not in job.run.switched:
        return ()
    seen: tuple[watch.Watched, ...] = host.get_fact(watch.Collected) or ()
    if not seen:
        host.log(f"{host.name}: not watched during the switch; python3 is missing or broken there")
    for entry in seen:
        host.log(f"{host.name}: during the switch {entry}")
    return seen


def _judge(host: Host, job: Job) -> str:
    """Mode, virtual servers and probes against the baseline."""
    found = node_of(host, job)
    snapshot = plan.open_snapshot(found.entries) if found else None
    baseline = (snapshot or job.old or Snapshot("", "", {})).baseline

    def complaints(h: Host) -> list[str]:
        now = node_of(h, job)
        if now is None or now.mode != job.mode:
            return [f"kube-proxy runs in mode {now.mode if now else 'unknown'}, not {job.mode}"]
        if job.mode == "ipvs" and not plan.ours(now, job.view.node_ports())[0]:
            return ["mode ipvs has no virtual server yet"]
        lines = h.get_fact(kube_proxy.ProbeLines, script=probes.script(job.probes))
        after = probes.outcomes(lines or [], job.probes)
        job.run.answers[h.name] = after
        return probes.regressions(baseline, after, job.probes)

    return kube_proxy.prove(host, complaints, wait_seconds=min(job.settings.wait_seconds, 60))


def _clean(host: Host, job: Job, mode: str) -> str:
    found = node_of(host, job, chains=True)
    if found is None:
        return "what another mode left could not be read; run it again with -v to see why"
    mine, _ = plan.ours(found, job.view.node_ports())
    servers = mine if mode != "ipvs" else []
    if not leftovers.left(found, mode, servers):
        return ""
    deadline = time.monotonic() + job.settings.wait_seconds
    kube_proxy.patiently(host, job.run.hold, deadline)
    text = leftovers.cleanup(mode, servers, job.view.udp_services())
    direct.run(host, text)
    now = node_of(host, job, chains=True)
    if now is None:
        return "what another mode left could not be read again; run it again"
    mine, _ = plan.ours(now, job.view.node_ports())
    still = leftovers.left(now, mode, mine if mode != "ipvs" else [])
    if still:
        return f"{still[0]} of another mode is still there (of {len(still)}); remove it by hand"
    return ""


def write_config(state: State, host: Host, job: Job, config: str, marks: Marks) -> bool:
    """Write configuration and marks, only if nobody else changed the ConfigMap meanwhile."""
    deadline = time.monotonic() + job.settings.wait_seconds
    try:
        kube_proxy.patiently(host, lambda: _write_config(job, config, marks), deadline)
    except ClusterError as error:
        host.log(f"{host.name}: {error}", outcome.ERROR)
        job.run.fail(host.name, str(error))
        return False
    return True


def _write_config(job: Job, config: str, marks: Marks) -> None:
    name, key = job.unit.config_map, job.unit.key
    current = job.api.get(CONFIG_MAP, name, NAMESPACE)
    annotations = current["metadata"].get("annotations") or {}
    same = all(annotations.get(mark) == value for mark, value in marks.items())
    if current["data"][key] == config and same:
        return
    version = current["metadata"]["resourceVersion"]
    meta = {"resourceVersion": version, "annotations": dict(marks)}
    job.api.merge(CONFIG_MAP, name, {"metadata": meta, "data": {key: config}}, NAMESPACE)


def give_up(state: State, host: Host, job: Job, sentence: str) -> bool:
    """Fail the step with this sentence."""
    return kube_proxy.attempt(state, host, job.run, lambda h: sentence)


def pause(state: State, host: Host, job: Job, seconds: int) -> bool:
    """Let people look before the next batch; a failure meanwhile ends it."""
    host.log(f"{host.name}: {seconds} s until the next batch")
    deadline = time.monotonic() + seconds
    while not job.run.halted and time.monotonic() < deadline:
        time.sleep(min(kube_proxy.POLL, seconds))
    return True


def tell(state: State, host: Host, text: str) -> bool:
    """Tell the person."""
    host.log(text)
    return True


def write_entry(state: State, host: Host, job: Job, event: str, data: dict[str, object]) -> bool:
    """An entry that cannot be written is a failed step: what it announces must not happen."""
    entry = journal.Entry(outcome.now(), outcome.RUN, event, data)
    done, _ = direct.run(host, append_entry(plan.CHANGE, entry))
    if not done:
        sentence = f"{journal.path(plan.CHANGE)}: cannot be written; is the disk full or read-only?"
        host.log(f"{host.name}: {sentence}", outcome.ERROR)
        job.run.fail(host.name, sentence)
    return done
