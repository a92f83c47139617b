"""Look at every host at once: read, listen, probe, collect. At most four commands per host.

The rule: a host that fails at one step is told with its reason and the others go on; an agent that
was started is stopped on every way out, and ends by itself when this process cannot stop it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import gevent
from gevent.event import Event

from underlay import direct
from underlay.cluster import of_run
from underlay.facts import node
from underlay.features.declared import Declared, declared
from underlay.features.preflight import addresses, agent, assemble
from underlay.features.preflight.asking import cluster_view
from underlay.features.preflight.assemble import Heard
from underlay.features.preflight.backup import read_backup
from underlay.features.preflight.plan import Plan, Target, plan
from underlay.features.preflight.ports import uses
from underlay.features.preflight.scene import Host, Probes, Scene
from underlay.settings import Fleet
from underlay.settings.cluster import Cluster

#: Name of the reading that is the way to the API server.
WAY = "admin-conf"
#: Seconds that one step of one host may take; probing is added its own probes' time.
READ, START, PROBE, COLLECT = 60, 25, 45, 30
#: Seconds that the others may probe longer than the first one to finish: its agent's lease runs.
GRACE = 20
#: Shortest wait of a probe where a node has no python3: a shell answers with several processes.
SLOW = 3.0
Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """What the command line adds. sample: k of the inventory when None; seed: drawn when None."""

    change: str = ""
    sample: int | None = None
    seed: int | None = None
    probe: bool = True


def look(
    reached: Sequence[Any], lost: Mapping[str, str], fleet: Fleet, options: Options, say: Say
) -> Scene:
    """The scene of these hosts. lost: host -> why it was not connected; say: step, done, of."""
    names = [each.name for each in reached] + list(lost)
    settings = [host for host in fleet if host.name in names]
    logins = {each.name: str(each.data.get("ssh_hostname") or each.name) for each in reached}
    hosts = {
        found.name: assemble.host_of(found, options.change, logins.get(found.name, ""))
        for found in settings
    }
    heard = {name: Heard(lost=lost.get(name, "")) for name in hosts}
    run = _Run(list(reached), heard, say)
    run.read(hosts, next(iter(fleet)).section(Cluster))
    for name, one in heard.items():
        if one.facts is None:
            # the address of SSH may be a forwarded port's: only the node can tell
            hosts[name] = replace(hosts[name], address=hosts[name].network.address or "")
        else:
            hosts[name] = addresses.known(hosts[name], one.facts)
    probes = Probes()
    if options.probe:
        targets = _targets(hosts, heard)
        pairs = _plan(targets, declared(fleet), assemble.groups_of(settings), options)
        run.probe(pairs, hosts)
        probes = assemble.probes(pairs, heard, hosts)
    done = {name: assemble.finished(host, heard[name]) for name, host in hosts.items()}
    backup = read_backup(next(iter(hosts.values())).preflight.backup)
    cluster = None
    if reached and any(one.facts is not None and one.facts.kubelet for one in heard.values()):
        say("asking the cluster", 0, 1)
        cluster = cluster_view(reached[0], fleet)
    return Scene(done, probes, backup, options.change, datetime.now(timezone.utc), cluster)


def _targets(hosts: Mapping[str, Host], heard: Mapping[str, Heard]) -> dict[str, Target]:
    """The nodes that can be probed; the others are told why not."""
    found = {}
    for name, host in hosts.items():
        facts = heard[name].facts
        if facts is None:
            continue
        target = addresses.target_of(host, facts)
        if not agent.can_run(facts.tools):
            heard[name].unprobed = "neither python3 nor socat nor nc is on it"
        elif target is None:
            heard[name].unprobed = "no interface carries its node address"
        else:
            found[name] = target
    return found


def _plan(
    targets: Mapping[str, Target],
    found: Declared,
    groups: Mapping[str, Sequence[str]],
    options: Options,
) -> Plan:
    how = found.preflight
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    return plan(
        targets, uses(groups, found), groups,
        mesh_up_to=how.mesh_up_to if options.sample is None else 1,
        sample=options.sample or how.sample, seed=seed,
    )  # fmt: skip


class _Run:
    """The steps, each on all hosts at once."""

    def __init__(self, reached: list[Any], heard: dict[str, Heard], say: Say) -> None:
        self._reached = reached
        self._heard = heard
        self._say = say
        # by what was this computer's time once: its clock may be set while a node is asked
        self._ahead = time.time() - time.monotonic()

    def read(self, hosts: Mapping[str, Host], cluster: Cluster) -> None:
        """Everything that a node says of itself, and one of them of the way to the API server."""

        def one(each: Any) -> None:
            host = hosts[each.name]
            way = of_run.reading(each, cluster)
            more = {} if way is None else {WAY: way}
            lines = command_output(each, node.command(host.modules, host.sysctls, more), READ)
            self._heard[each.name].facts, found = node.read(lines)
            if way is not None:
                of_run.read(each, "\n".join(found[WAY]))

        self._everywhere("reading", self._reached, one)

    def probe(self, found: Plan, hosts: Mapping[str, Host]) -> None:
        """Start every agent, let all go when the last one listens, stop them."""
        chosen = [each for each in self._reached if each.name in found.targets]
        run = secrets.token_hex(8)
        slowest = SLOW if any(self._by_shell(name) for name in found.targets) else 0
        wait = {n: max(hosts[n].preflight.probe_seconds, slowest) for n in found.targets}

        def start(each: Any) -> None:
            heard = self._heard[each.name]
            facts = heard.facts
            if facts is None:
                return
            dns = assemble.dns_questions(hosts[each.name], facts)
            told = agent.message(found, each.name, run=run, wait=wait[each.name], dns=dns)
            command, program = agent.start(told, facts.tools)
            sent = time.monotonic()
            lines = command_output(each, command, START, program)
            heard.times = (self._ahead + sent, self._ahead + time.monotonic())
            heard.started = agent.started(lines)

        longest = PROBE + 0.004 * len(found.pairs) * max(1, len(found.uses))
        try:
            self._everywhere("listening", chosen, start)
            served = assemble.served(found, self._heard)

            def go(each: Any) -> None:
                heard = self._heard[each.name]
                if heard.started is not None:
                    text = agent.probe_command(heard.started.folder, heard.started.pid, served)
                    heard.rows = agent.results(command_output(each, text, longest))

            self._everywhere("probing", self._listening(chosen), go, grace=GRACE)
        finally:
            self._everywhere("collecting", self._listening(chosen), self._collect)

    def _by_shell(self, name: str) -> bool:
        facts = self._heard[name].facts
        return facts is not None and "python3" not in facts.tools

    def _listening(self, chosen: Sequence[Any]) -> list[Any]:
        heard = self._heard
        return [e for e in chosen if heard[e.name].started is not None and not heard[e.name].lost]

    def _collect(self, each: Any) -> None:
        heard = self._heard[each.name]
        if heard.started is not None:
            text = agent.collect_command(heard.started.folder, heard.started.pid)
            heard.arrivals, gone = agent.arrivals(command_output(each, text, COLLECT))
            heard.leftover = not gone

    def _everywhere(
        self,
        step: str,
        chosen: Sequence[Any],
        one: Callable[[Any], None],
        *,
        grace: float | None = None,
    ) -> None:
        """One step on these hosts at once; a host that fails it is lost, with the reason.

        grace: seconds for the others once the first host has done it, None for no such limit.
        """
        self._say(step, 0, len(chosen))
        done = 0

        first = Event()

        def guarded(each: Any) -> None:
            nonlocal done
            try:
                one(each)
                first.set()
            except Exception as error:
                self._heard[each.name].lost = _why(step, error)
            done += 1
            self._say(step, done, len(chosen))

        running = {gevent.spawn(guarded, each): each for each in chosen}
        if grace is not None:
            # a host that fails sets nothing, so all of them failing must end the wait too
            over = gevent.spawn(gevent.joinall, list(running))
            gevent.wait([first, over], count=1)
            gevent.joinall(list(running), timeout=grace)
            for late in [each for each in running if not each.dead]:
                self._heard[running[late].name].lost = _late(step, grace)
                late.kill(block=False)
        else:
            gevent.joinall(running)


def command_output(each: Any, text: str, seconds: float, stdin: str | None = None) -> list[str]:
    """Lines of standard output of one command; an exception when it took too long or failed."""
    with gevent.Timeout(seconds, TimeoutError(f"no answer for {seconds:.0f} s")):
        good, output = direct.run(each, text, stdin)
    if not good:
        last = [line for line in output.stderr_lines if line.strip()][-1:]
        raise RuntimeError(last[0].strip()[:200] if last else "the command failed without a word")
    return list(output.stdout_lines)


def _why(step: str, error: Exception) -> str:
    text = str(error).strip().splitlines()
    reason = text[0] if text else type(error).__name__
    return f"lost while {step}: {reason}"


def _late(step: str, grace: float) -> str:
    return f"lost while {step}: no answer for {grace:.0f} s after the others"
