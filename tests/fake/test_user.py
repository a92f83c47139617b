"""Every command of a run is one of the user that the run becomes, a step's own commands too.

A node is logged in to as nobody in particular, and `_sudo` or `_su_user` stands in the inventory or
is given to the deploy. pyinfra hands both to its own commands; a command without them fails there.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput
from tests.fake import test_ipsec, test_wireguard
from tests.fake.calico import Calico
from tests.fake.test_wireguard import HUB, OVERLAY, A
from tests.fake.world import Clock, World, run_on

from underlay.cluster import drain, lease
from underlay.facts.script import MARK
from underlay.features.ipsec.deploy import connect as connect_ipsec
from underlay.features.kube_proxy.deploy import migrate_to_ipvs
from underlay.features.route_reflectors import deploy as reflectors
from underlay.features.route_reflectors import proof, status, writes
from underlay.features.wireguard.deploy import connect as connect_wireguard
from underlay.operations import kube_proxy

Make = Callable[[int], World]
#: In the inventory, or with the deploy.
WAYS = pytest.mark.parametrize("way", ["data", "deploy"])
BECOME: dict[str, Any] = {"_sudo": True, "_su_user": "net"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every command with what the connector was told."""
    found: list[tuple[str, dict[str, Any]]] = []
    original: Callable[..., Any] = FakeConnector.run_shell_command

    def run(self: FakeConnector, command: Any, *words: Any, **named: Any) -> Any:
        found.append((str(command), named))
        self.given = named.get("_stdin") or []  # type: ignore[attr-defined]
        return original(self, command, *words, **named)

    monkeypatch.setattr(FakeConnector, "run_shell_command", run)
    return found


def become(way: str, deploy: Callable[..., object]) -> tuple[Callable[[], object], dict[str, Any]]:
    """The deploy to run, and what stands in the inventory."""
    return (deploy, BECOME) if way == "data" else (lambda: deploy(**BECOME), {})


def all_by_that_user(asked: list[tuple[str, dict[str, Any]]], *own: str) -> None:
    """Nothing else was run, and among it were the commands that steps run by themselves."""
    for text, told in asked:
        assert {key: told.get(key) for key in BECOME} == BECOME, text
    for part in own:
        assert any(part in text for text, _ in asked), part


@WAYS
def test_a_migration_that_fails_and_goes_back(
    make_world: Make, asked: list[tuple[str, dict[str, Any]]], way: str
) -> None:
    world = make_world(2)
    world.refuse = lambda call: call == "traffic @fake/n2"
    deploy, data = become(way, migrate_to_ipvs)
    assert run_on(list(world.nodes), deploy, data).failed == set(world.nodes)
    assert world.modes == {"iptables"}
    assert any(call.startswith("clean ") for call in world.calls)
    all_by_that_user(asked, "committed", "rolled-back", "kube-ipvs0")


def test_route_reflectors(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    world = Calico(3)
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    monkeypatch.setattr(reflectors, "api_of", lambda state, settings: world)
    clock = Clock()
    for module in (drain, proof, status, writes, kube_proxy, lease):
        monkeypatch.setattr(module, "time", clock)
    group = {"cluster_id": "244.0.0.1", "reflectors": ["@fake/n1", "@fake/n2"]}
    settings = {"groups": {"all": group}, "wait_seconds": 10}
    data = {"route_reflectors": settings, **BECOME}
    assert run_on(world.names, reflectors.reflect, data).failed == set()
    all_by_that_user(asked, "snapshot", "committed")


class Pairs(test_wireguard.World):
    """Members that have no preshared key yet and take one."""

    def answer(self, host: str, command: str) -> tuple[bool, CommandOutput]:
        """What a host's shell gives."""
        text = shlex.split(command)[-1]
        if f"{MARK}psk" in text and f"{MARK}kernel" not in text:
            return self._read({"psk": []})
        if "/psk/" in text and "cat >" in text:
            self.calls.append(f"psk {host}")
            return True, CommandOutput([])
        return super().answer(host, command)


def test_preshared_keys(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    world = Pairs()
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    nodes: Any = OVERLAY["nodes"]
    overlay = {**OVERLAY, "preshared_keys": True, "nodes": {n: nodes[n] for n in (HUB, A)}}
    data = {"wireguard": {"overlays": {"wg0": overlay}}, **BECOME}
    run_on([HUB, A], connect_wireguard, data)
    assert {f"psk {HUB}", f"psk {A}"} <= set(world.calls)
    all_by_that_user(asked, "/psk/wg0")


@WAYS
def test_secrets_and_the_proof_of_a_link(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, dict[str, Any]]], way: str
) -> None:
    world = test_ipsec.World()
    monkeypatch.setattr(
        FakeConnector,
        "_lookup_response",
        lambda self, text: world.answer(self.host.name, text, list(self.given)),
    )
    monkeypatch.setenv("TEST_PSK", test_ipsec.PSK)
    deploy, data = become(way, connect_ipsec)
    names = [test_ipsec.A, test_ipsec.NODE, test_ipsec.B]
    data = {"ipsec": {"links": {"a-b": test_ipsec.LINK}}, **data}
    assert run_on(names, deploy, data).failed == set()
    all_by_that_user(asked, "while read -r path data", "cmp -s", "underlay-ipsec prove")
