"""The whole WireGuard deploy without machines: keys first, everybody's key read, failures apart."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from tests.fake.world import Run, run_on

from underlay.errors import SettingsError
from underlay.facts.script import MARK
from underlay.features.wireguard.deploy import connect
from underlay.operations.wireguard_plan import SHARED, digest
from underlay.render import source

HUB, A, B = "@fake/hub", "@fake/a", "@fake/b"
OVERLAY = {
    "overlay_cidr": "10.200.0.0/24", "hubs": [HUB], "accept_single_hub": True,
    "nodes": {
        HUB: {"address": "10.200.0.100", "endpoint": "203.0.113.1:51820"},
        A: {"address": "10.200.0.1", "endpoint": "203.0.113.2:51820"},
        B: {"address": "10.200.0.2", "behind_nat": True},
    },
}  # fmt: skip


@dataclass
class World:
    """Hosts without a kernel: a key once it was made, our files once they were written.

    calls: `keys`, `read`, `change` with the host, in order; broken: hosts on which no key can be
    made; installed: files that all interfaces share are there; readings: host -> what it
    has besides; silent: members that answer nobody; looks: hosts, each time one told all of itself.
    """

    keys: dict[str, str] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    broken: frozenset[str] = frozenset()
    kernel: str = "loaded"
    installed: bool = True
    readings: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    looks: list[str] = field(default_factory=list)

    def answer(self, host: str, command: str) -> tuple[bool, CommandOutput]:
        """What a host's shell gives."""
        text = shlex.split(command)[-1]
        if f"{MARK}kernel" in text:
            self.looks.append(host)
            return self._read(self._host(host))
        if f"{MARK}keys" in text:
            self.calls.append(f"read {host}")
            return self._read({"keys": [f"wg0 {self.keys[host]} 600"] if host in self.keys else []})
        if "wg genkey" in text:
            self.calls.append(f"keys {host}")
            if host in self.broken:
                return False, CommandOutput([OutputLine("stderr", "no space left")])
            self.keys[host] = f"public-key-of-{host}"
            return True, CommandOutput([])
        if "command -v ping" in text:
            self.calls.append(f"ask {host}")
            return self._read({"out": [node for node in self.silent if f"echo {node})" in text]})
        assert "journal.jsonl" in text, text
        self.calls.append(f"change {host}")
        self.changes[host] = text
        return True, CommandOutput([])

    def _host(self, host: str) -> dict[str, list[str]]:
        names = (
            "tools live links addresses routes sysctl psk files hashes units firewall firewall6"
            " walls ports ssh programs journal guard"
        )
        found: dict[str, list[str]] = {name: [] for name in names.split()}
        return {
            **found,
            "kernel": [self.kernel],
            "tools": ["wg", "ip", "iptables", "flock", "systemctl"],
            "keys": [f"wg0 {self.keys[host]} 600"] if host in self.keys else [],
            "hashes": [
                f"{digest(source(name))}  {path}"
                for path, (name, _) in SHARED.items()
                if self.installed
            ],
            **self.readings.get(host, {}),
        }

    def _read(self, readings: dict[str, list[str]]) -> tuple[bool, CommandOutput]:
        lines = [line for name, found in readings.items() for line in (f"{MARK}{name}", *found)]
        return True, CommandOutput([OutputLine("stdout", line) for line in (*lines, f"{MARK}end")])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Three hosts that have nothing yet."""
    found = World()
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: found.answer(self.host.name, text)
    )
    return found


def _run(overlay: dict[str, Any] = OVERLAY) -> Run:
    return run_on([HUB, A, B], connect, {"wireguard": {"overlays": {"wg0": overlay}}})


def test_a_plan_looks_at_each_host_once(world: World) -> None:
    run_on([HUB, A, B], connect, {"wireguard": {"overlays": {"wg0": OVERLAY}}}, dry=True)
    assert sorted(world.looks) == sorted([HUB, A, B])


def test_keys_are_made_everywhere_before_anybody_reads_them(world: World) -> None:
    done = _run()
    assert done.failed == set()
    first = next(n for n, call in enumerate(world.calls) if call.startswith("change"))
    assert {call for call in world.calls[:first] if call.startswith("keys")} == {
        f"keys {name}" for name in (HUB, A, B)
    }
    assert f"PublicKey = public-key-of-{A}" in world.changes[HUB]
    assert f"PublicKey = public-key-of-{B}" in world.changes[HUB]
    assert f"PublicKey = public-key-of-{HUB}" in world.changes[A]
    assert f"public-key-of-{B}" not in world.changes[A]


def test_a_hub_is_asked_once_and_not_once_by_every_spoke(world: World) -> None:
    _run()
    # once more by each plan of a run, which comes before the keys are there
    executed = world.calls[world.calls.index(next(c for c in world.calls if c[:4] == "keys")) :]
    assert executed.count(f"read {HUB}") == 1


def test_a_member_without_key_fails_those_that_need_it_and_no_other(world: World) -> None:
    world.broken = frozenset({B})
    done = _run()
    # the hub needs b's key, a needs only the hub's
    assert done.failed == {B, HUB}
    assert set(world.changes) == {A}


def test_a_host_without_wireguard_is_refused_before_any_change(world: World) -> None:
    world.kernel = "missing"
    done = _run()
    assert done.failed == {HUB, A, B}
    assert not [call for call in world.calls if call.startswith(("keys", "change"))]


def test_no_overlay_on_a_host_that_has_nothing_changes_nothing(world: World) -> None:
    world.installed = False
    assert run_on([HUB, A, B], connect, {}).failed == set()
    assert world.calls == []


def test_no_overlay_removes_what_a_removal_left_when_it_was_cut_short(world: World) -> None:
    assert run_on([HUB, A, B], connect, {}).failed == set()
    assert set(world.changes) == {HUB, A, B}
    assert all(
        "rm -f /usr/local/sbin/underlay-wireguard" in text for text in world.changes.values()
    )


def test_a_host_that_is_reached_through_its_overlay_stops_its_removal_everywhere(
    world: World,
) -> None:
    world.readings[B] = {
        "files": ["wg0.env:ADDRESS=10.200.0.2/24"],
        "links": ["5: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 state UNKNOWN"],
        "addresses": ["5: wg0    inet 10.200.0.2/24 scope global wg0"],
        "ssh": ["10.200.0.100 40022 10.200.0.2 22", "10.200.0.100 dev wg0 src 10.200.0.2"],
    }
    nodes = {name: node for name, node in OVERLAY["nodes"].items() if name != B}  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="an address of wg0 that is to go"):
        _run({**OVERLAY, "nodes": nodes})
    assert not [call for call in world.calls if call.startswith(("keys", "change"))]


def test_peers_are_asked_when_all_are_there_and_a_silent_one_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    hub = HUB.replace("@", "_").replace("/", "_")
    world.readings[A] = {
        "files": ["wg0.env:", f"wg0.peers:# node {hub}", f"wg0.peers:PublicKey = key-of-{HUB}"]
    }
    world.silent = (HUB,)
    with caplog.at_level("WARNING"):
        assert _run().failed == set()
    asked = [n for n, call in enumerate(world.calls) if call.startswith("ask")]
    changed = [n for n, call in enumerate(world.calls) if call.startswith("change")]
    assert len(changed) == 3
    assert {world.calls[n] for n in asked} == {f"ask {name}" for name in (HUB, A, B)}
    assert min(asked) > max(changed)
    assert f"{A}: wg0: {HUB} (203.0.113.1:51820) gives no answer through the tunnel" in caplog.text


def test_nobody_is_asked_when_nothing_changed(world: World) -> None:
    world.installed = False
    assert run_on([HUB, A, B], connect, {}).failed == set()
    assert not [call for call in world.calls if call.startswith("ask")]
