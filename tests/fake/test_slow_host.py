"""A host that needs two seconds for every command, among fast ones.

The rule: hosts that do the same step do it at the same time, and no time of ours is over before
such a host has answered.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.lock import RLock
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput
from tests.fake import (
    ipsec_hosts,
    test_ipsec,
    test_ipsec_power_cut,
    test_wireguard,
    test_wireguard_power_cut,
    wireguard_hosts,
)
from tests.fake.calico import Calico
from tests.fake.power import Use
from tests.fake.test_flannel import NETWORK, Flannel
from tests.fake.test_flannel import _device as device
from tests.fake.test_route_reflectors import FORWARD
from tests.fake.timed import KINDS, SLOW, timed
from tests.fake.world import Clock, Run, World, run_on
from typing_extensions import override

from underlay.features.flannel import deploy as flannel
from underlay.features.ipsec.deploy import connect as ipsec
from underlay.features.kube_proxy import actions
from underlay.features.kube_proxy import deploy as kube_proxy
from underlay.features.route_reflectors import deploy as reflectors
from underlay.features.route_reflectors import proof, status
from underlay.features.wireguard.deploy import connect as wireguard
from underlay.operations import guard, wireguard_keys
from underlay.operations import kube_proxy as restarts

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("slow", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_no_time_is_over_before_a_slow_host_has_answered(
    monkeypatch: Patch, tmp_path: Path, kind: str, slow: int
) -> None:
    """With times that are shorter than the defaults; the first host leads some of the runs."""
    fast = timed(monkeypatch, kind, tmp_path / "fast")
    assert fast.begin().failed == set()
    scene = timed(monkeypatch, kind, tmp_path / "slow")
    hosts = list(dict.fromkeys(call.split()[-1] for call in fast.calls if "@fake/" in call))
    scene.slow = hosts[slow]
    assert scene.begin().failed == set()
    mine = sum(call.endswith(f" {scene.slow}") for call in scene.calls)
    assert mine > 0
    assert scene.clock.now <= fast.clock.now + SLOW * mine
    again = scene.begin()
    assert (again.failed, again.operations) == (set(), 0)


#: Seconds of the shortest guard that can be asked for.
GUARD = 15
A = test_wireguard_power_cut.A


class Guarded(wireguard_hosts.Members):
    """One of them is slow, and takes a change back when its guard was not disarmed in time."""

    clock: Clock
    armed: float | None = None

    @override
    def respond(self, host: str, command: str, stdin: list[str]) -> tuple[bool, CommandOutput]:
        member = self.members[host]
        began = self.clock.now
        timer = member.state / "active" / wireguard_hosts.TIMER
        if host == A:
            self.clock.sleep(SLOW)
            if self.armed is not None and self.clock.now - self.armed >= GUARD:
                member.fire()
        found = super().respond(host, command, stdin)
        if host == A and timer.exists() and self.armed is None:
            self.armed = began
        return found


def test_the_guard_of_a_slow_host_waits_until_it_is_disarmed(
    monkeypatch: Patch, use: Use, tmp_path: Path
) -> None:
    clock = Clock()
    monkeypatch.setattr(guard, "time", clock)
    hosts = Guarded(tmp_path / "hosts", test_wireguard_power_cut.HOSTS)
    hosts.clock = clock
    use(hosts)
    for overlay in (test_wireguard_power_cut.OVERLAY, test_wireguard_power_cut.SMALLER):
        hosts.armed = None
        sections: dict[str, object] = {
            "wireguard": {"guard_s": GUARD, "overlays": {"wg0": overlay}}
        }
        assert run_on([*hosts.names], wireguard, sections).failed == set()
    assert hosts.armed is not None, "the change needed no guard"
    assert not (hosts.members[A].root / "var/lib/underlay/guard/wireguard").exists()
    assert "MTU=1400" in (wireguard_hosts.folder_of(hosts.members[A]) / "wg0.env").read_text()


#: How many hosts there are, and seconds that each command takes where they are watched.
COUNT, EACH = 6, 0.05
HOSTS = [f"@fake/n{number}" for number in range(1, COUNT + 1)]
Made = Callable[[], Run]
#: Hosts with a shell are the only ones of a test that wants them.
Shells = Callable[[], Use]


@dataclass
class Watch:
    """When each command began and ended: host, seconds. each: seconds that every one takes."""

    each: float = 0.0
    spans: list[tuple[str, float, float]] = field(default_factory=list)

    def over(self, patch: Patch) -> None:
        """Watch every command that a host gets from now on."""
        answered: Callable[[FakeConnector, str], Any] = FakeConnector._lookup_response

        def answer(connector: FakeConnector, text: str) -> Any:
            began = time.monotonic()
            gevent.sleep(self.each)
            found = answered(connector, text)
            self.spans.append((connector.host.name, began, time.monotonic()))
            return found

        patch.setattr(FakeConnector, "_lookup_response", answer)

    @property
    def busy(self) -> float:
        """Seconds in which any host was at work."""
        total = until = 0.0
        for _, began, ended in sorted(self.spans, key=lambda span: span[1]):
            total += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return total

    @property
    def work(self) -> float:
        """The seconds of all hosts together, as if they took turns."""
        return sum(ended - began for _, began, ended in self.spans)

    @property
    def commands(self) -> int:
        """Of the host that gets most of them."""
        return max(Counter(host for host, _, _ in self.spans).values())


def _overlay(hub: str) -> dict[str, object]:
    nodes = {
        name: {"address": f"10.200.0.{number}", "endpoint": f"203.0.113.{number}:51820"}
        for number, name in enumerate(HOSTS, start=1)
    }
    overlay = {"overlay_cidr": "10.200.0.0/24", "hubs": [hub], "accept_single_hub": True}
    return {"wireguard": {"overlays": {"wg0": {**overlay, "nodes": nodes}}}}


@pytest.fixture(autouse=True)
def locks(monkeypatch: Patch) -> None:
    """As the command line of pyinfra has them: who waits for one lets others go on."""
    monkeypatch.setattr(wireguard_keys, "Lock", RLock)


def _wireguard(patch: Patch, folder: Path, shells: Shells) -> Made:
    shells()(wireguard_hosts.Members(folder / "hosts", tuple(HOSTS)))
    return lambda: run_on(HOSTS, wireguard, _overlay(HOSTS[0]), at_once=True)


def _wireguard_members(patch: Patch, folder: Path, shells: Shells) -> Made:
    """The same without a shell, which would let no other host answer meanwhile."""
    world = test_wireguard.World()
    patch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    return lambda: run_on(HOSTS, wireguard, _overlay(HOSTS[0]), at_once=True)


def _link(first: str, nodes: list[str], last: str) -> dict[str, object]:
    link = test_ipsec_power_cut.LINK
    ends = {
        "a": {**link["ends"]["a"], "gateway": first, "nodes": nodes},
        "b": {**link["ends"]["b"], "gateway": last},
    }
    return {"ipsec": {"links": {"a-b": {**link, "ends": ends}}}}


def _ipsec(patch: Patch, folder: Path, shells: Shells) -> Made:
    patch.setenv("TEST_PSK", "correct horse")
    first, *nodes, last = HOSTS
    shells()(ipsec_hosts.Boxes(folder / "hosts", tuple(HOSTS), (first, last)))
    return lambda: run_on(HOSTS, ipsec, _link(first, nodes, last), at_once=True)


def _ipsec_members(patch: Patch, folder: Path, shells: Shells) -> Made:
    """The same without a shell."""
    patch.setenv("TEST_PSK", "correct horse")
    world = test_ipsec.World()
    names = [test_ipsec.A, *HOSTS[: COUNT - 2], test_ipsec.B]
    patch.setattr(
        FakeConnector, "_lookup_response",
        lambda self, text: world.answer(self.host.name, text, ["/a 00"]),
    )  # fmt: skip
    return lambda: run_on(names, ipsec, _link(names[0], names[1:-1], names[-1]), at_once=True)


def _flannel(patch: Patch, folder: Path, shells: Shells) -> Made:
    """A new size of packets: each device gets it, once the cluster has it."""
    world = Flannel()
    for number, name in enumerate(HOSTS):
        spec = {"podCIDR": f"10.244.{number}.0/24"}
        world.cluster.put(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}
        )
    patch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    patch.setattr(flannel, "api_of", lambda state, settings: world.cluster)
    patch.chdir(folder)

    def sized(mtu: int) -> Run:
        sections: dict[str, object] = {
            "network": {**NETWORK, "mtu": mtu}, "flannel": {"wait_s": 0},
        }  # fmt: skip
        found = run_on(HOSTS, flannel.install, sections, at_once=True)
        world.readings = {name: {"devices": device(mtu - 50)} for name in HOSTS}
        return found

    assert sized(1500).failed == set()
    return lambda: sized(1400)


def _proxy(patch: Patch, folder: Path, shells: Shells) -> Made:
    """The first node alone, then all others together."""
    world = World(HOSTS)
    patch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    patch.setattr(kube_proxy, "api_of", lambda state, settings: world)
    for module in (actions, restarts):
        patch.setattr(module, "time", world.clock)
    rollout = {"canary": 1, "batch": COUNT - 1}
    sections: dict[str, object] = {"kube_proxy": {"rollout": rollout}}
    return lambda: run_on(HOSTS, kube_proxy.migrate_to_ipvs, sections, at_once=True)


def _reflectors(patch: Patch, folder: Path, shells: Shells) -> Made:
    world = Calico(COUNT)
    patch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: world.answer(self.host.name, text)
    )
    patch.setattr(reflectors, "api_of", lambda state, settings: world)
    for module in (proof, status):
        patch.setattr(module, "time", Clock())
    sections: dict[str, object] = {"route_reflectors": FORWARD}
    return lambda: run_on(world.names, reflectors.reflect, sections, at_once=True)


Maker = Callable[[Patch, Path, Shells], Made]
#: Deploy -> how it is run on COUNT hosts, and how many commands the host gets that gets most of
#: them: of a run that changes, and of the next.
COSTS: dict[str, tuple[Maker, int, int]] = {
    "wireguard": (_wireguard, 10, 5),
    "ipsec": (_ipsec, 10, 5),
    "flannel": (_flannel, 5, 1),
    "proxy_mode": (_proxy, 16, 1),
    "route_reflectors": (_reflectors, 8, 1),
}


@pytest.mark.parametrize("deploy", COSTS)
def test_what_a_run_costs_a_host(
    monkeypatch: Patch, request: pytest.FixtureRequest, tmp_path: Path, deploy: str
) -> None:
    """docs/robustness.md says what a slow host costs by these numbers."""
    made, first, again = COSTS[deploy]
    run = made(monkeypatch, tmp_path, lambda: request.getfixturevalue("use"))
    counted = []
    for _ in range(2):
        watch = Watch()
        with monkeypatch.context() as patch:
            watch.over(patch)
            assert run().failed == set()
        counted.append(watch.commands)
    assert counted == [first, again]
    page = (Path(__file__).parents[2] / "docs/robustness.md").read_text()
    assert f"- {deploy}: {first}, and {again} when nothing changes\n" in page


@pytest.mark.parametrize(
    "made", [_wireguard_members, _ipsec_members, _flannel, _proxy, _reflectors],
    ids=["wireguard", "ipsec", "flannel", "proxy_mode", "route_reflectors"],
)  # fmt: skip
def test_hosts_work_at_the_same_time(
    monkeypatch: Patch, request: pytest.FixtureRequest, tmp_path: Path, made: Maker
) -> None:
    """If they took turns, a slow one would keep all the others waiting."""
    run = made(monkeypatch, tmp_path, lambda: request.getfixturevalue("use"))
    watch = Watch(EACH)
    watch.over(monkeypatch)
    assert run().failed == set()
    assert len({host for host, _, _ in watch.spans}) == COUNT
    assert watch.busy < watch.work / 2, (watch.busy, watch.work)
