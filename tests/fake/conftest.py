"""A world per test, and time that passes at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyinfra.connectors.fake import FakeConnector
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
