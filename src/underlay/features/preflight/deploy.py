"""The pre-flight as a plain pyinfra deploy: looks while the run is prepared, changes nothing.

The whole fleet is looked at once, whichever host asks first; each host then passes or ends with its
own problems. What is about the whole cluster is told by the first host.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from weakref import WeakKeyDictionary

from gevent.event import AsyncResult
from pyinfra.api.deploy import deploy
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.context import host

from underlay.checks.model import Finding, Phase, Result, Status
from underlay.features.fleet import fleet_of
from underlay.features.preflight.gather import Options, look
from underlay.features.preflight.run import results
from underlay.operations import checks
from underlay.operations.outcome import note

_results: WeakKeyDictionary[Inventory, AsyncResult] = WeakKeyDictionary()


@deploy("Pre-flight")
def preflight() -> None:
    """Pass every check of the pre-flight, or end the host with everything that is wrong with it."""
    found = _once(host.state)
    told = list(_of_host(found))
    for result, finding in told:
        if finding.status in (Status.WARN, Status.UNKNOWN):
            note(host, f"{result.id}: {finding.message}")
    problems = [
        f"{result.id}: {finding.message}; {finding.remedy or result.remedy}"
        for result, finding in told
        if finding.status is Status.FAIL
    ]
    checks.passes(
        name="Pass the pre-flight checks",
        passed=sum(result.status is Status.PASS for result in found),
        problems=problems,
    )


def _once(state: State) -> list[Result]:
    waiting = _results.get(state.inventory)
    if waiting is None:
        waiting = AsyncResult()
        _results[state.inventory] = waiting
        try:
            waiting.set(_look(state))
        except Exception as error:
            waiting.set_exception(error)
            raise
    found: list[Result] = waiting.get()
    return found


def _look(state: State) -> list[Result]:
    chosen = [each for each in state.inventory if state.is_host_in_limit(each)]
    reached = [each for each in chosen if each.connected]
    lost = {each.name: "not reachable over SSH" for each in chosen if not each.connected}
    scene = look(reached, lost, fleet_of(state.inventory), Options(), lambda *_: None)
    found, _ = results(scene, Phase.PREFLIGHT, (), date.today())
    return found


def _of_host(found: list[Result]) -> Iterator[tuple[Result, Finding]]:
    state = host.state
    first = next(each.name for each in state.inventory if state.is_host_in_limit(each))
    for result in found:
        for finding in result.findings:
            mine = host.name in finding.hosts or (not finding.hosts and host.name == first)
            if mine and finding.status is not Status.PASS:
                yield result, finding
