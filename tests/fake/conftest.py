"""A world per test, and time that passes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from pyinfra.api.state import State
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput
from tests.fake.power import Powered, Use
from tests.fake.world import Clock, World

from underlay.cluster import drain, lease
from underlay.features.kube_proxy import actions, deploy
from underlay.operations import kube_proxy


@pytest.fixture
def make_world(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], World]:
    """A cluster of so many nodes, all in iptables mode, that the deploys of this test see."""

    def make(count: int) -> World:
        world = World([f"@fake/n{number}" for number in range(1, count + 1)])
        monkeypatch.setattr(
            FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
        )
        monkeypatch.setattr(deploy, "api_of", lambda state, settings: world)
        clock = world.clock = Clock()
        for module in (kube_proxy, actions, drain, lease):
            monkeypatch.setattr(module, "time", clock)
        return world

    return make


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Make hosts in folders the ones that pyinfra talks to."""
    now: list[Powered] = []
    of_run: WeakKeyDictionary[State, Powered] = WeakKeyDictionary()
    stdin: dict[tuple[State, str], list[str]] = {}
    original: Callable[..., Any] = FakeConnector.run_shell_command

    def run(self: FakeConnector, command: Any, *words: Any, **named: Any) -> Any:
        # hosts take turns inside of this call, and one of a run that was cut may come late
        of_run.setdefault(self.state, now[-1])
        stdin[self.state, self.host.name] = list(named.get("_stdin") or [])
        return original(self, command, *words, **named)

    def answer(self: FakeConnector, text: str) -> tuple[bool, CommandOutput]:
        given = stdin[self.state, self.host.name]
        return of_run[self.state].answer(self.state, self.host.name, text, given)

    def used(hosts: Powered) -> Powered:
        now.append(hosts)
        return hosts

    monkeypatch.setattr(FakeConnector, "run_shell_command", run)
    monkeypatch.setattr(FakeConnector, "_lookup_response", answer)
    return used
