"""The IPsec deploy without machines: refusals, both ends before the proof, the way back."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from tests.fake.world import Run, run_on

from underlay.errors import SettingsError
from underlay.facts.ipsec import readings
from underlay.facts.script import MARK
from underlay.features.ipsec.deploy import connect
from underlay.operations.ipsec_plan import SHARED, digest
from underlay.render import source

A, NODE, B = "@fake/a-gw", "@fake/a1", "@fake/b-gw"
PSK = "correct horse battery staple"
LINK: dict[str, Any] = {
    "ends": {
        "a": {
            "gateway": A, "address": "192.0.2.1", "networks": ["10.10.0.0/24"], "nodes": [NODE],
            "inside": "10.10.0.1",
        },
        "b": {"gateway": B, "address": "192.0.2.2", "networks": ["10.20.0.0/24"]},
    },
    "psk": {"env": "TEST_PSK"},
    "proposals": ["aes256-sha256-modp2048"],
    "esp_proposals": ["aes256-sha256-modp2048"],
}  # fmt: skip
READINGS = tuple(readings(()))
ESTABLISHED = (
    "list-sa event {a-b {uniqueid=1 version=2 state=ESTABLISHED child-sas {net-1 {name=net"
    " uniqueid=1 state=INSTALLED local-ts=[10.10.0.0/24] remote-ts=[10.20.0.0/24]}}}}"
)
OTHER = (
    "list-sa event {b-c {uniqueid=1 version=2 state=ESTABLISHED child-sas {net-1 {name=net"
    " uniqueid=1 state=INSTALLED local-ts=[10.30.0.0/24] remote-ts=[10.21.0.0/24]}}}}"
)
Answer = tuple[bool, CommandOutput]


@dataclass
class World:
    """Hosts without a kernel; calls: what was done, in order; answers: reading -> lines, by host.

    proof: what the helper says; given: what hosts got on standard input.
    """

    calls: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    given: dict[str, list[str]] = field(default_factory=dict)
    readings: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    proof: tuple[bool, list[str]] = (True, [ESTABLISHED])
    broken: frozenset[str] = frozenset()
    differs: bool = True

    def answer(self, host: str, command: str, stdin: list[str]) -> Answer:
        """What a host's shell gives."""
        text = shlex.split(command)[-1]
        if f"{MARK}associations" in text:
            return True, _lines(
                line
                for name in READINGS
                for line in (f"{MARK}{name}", *self._read(host).get(name, []))
            )
        if "cmp -s" in text:
            differing = [f"differs {line.split()[0]}" for line in stdin if self.differs]
            return True, _lines(["read", *differing, "end"], mark=False)
        kind = self._kind(text)
        self.calls.append(f"{kind} {host}")
        self.texts.setdefault(host, []).append(text)
        if kind == "secrets":
            self.given[host] = stdin
        if kind == "prove":
            said = [line if host == A else mirrored(line) for line in self.proof[1]]
            return self.proof[0], _lines(said, mark=False)
        return f"{kind} {host}" not in self.broken, CommandOutput([])

    @staticmethod
    def _kind(text: str) -> str:
        for mark, kind in (
            ("while read -r path data", "secrets"), ("underlay-ipsec prove", "prove"),
            ('"applying"', "change"), ("apt-get", "install"), ('"starting"', "start"),
            ("cp -a", "restore"), ("rm -rf", "forget"),
        ):  # fmt: skip
            if mark in text:
                return kind
        raise AssertionError(text)

    def _read(self, host: str) -> dict[str, list[str]]:
        algorithms = "AES_CBC HMAC_SHA2_256_128 PRF_HMAC_SHA2_256 MODP_2048"
        return {
            "tools": ["swanctl", "ip", "iptables", "iptables-restore", "flock", "systemctl"],
            "daemon": [
                "version strongSwan swanctl 5.9.8",
                "strongswan enabled active",
                "strongswan-starter",
            ],
            "included": ["include conf.d/*.conf"],
            "algorithms": [f"  {name}[openssl]" for name in algorithms.split()],
            "forward": ["1"],
            "hashes": [f"{digest(source(name))}  {path}" for path, (name, _) in SHARED.items()],
            **self.readings.get(host, {}),
        }


def mirrored(line: str) -> str:
    """An association as the far side sees it."""
    swap = {"local": "remote", "remote": "local"}
    return re.sub(r"(local|remote)-ts", lambda found: f"{swap[found.group(1)]}-ts", line)


def _lines(lines: Any, *, mark: bool = True) -> CommandOutput:
    return CommandOutput(
        [OutputLine("stdout", line) for line in [*lines, *([f"{MARK}end"] if mark else [])]]
    )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Three hosts that have nothing yet."""
    found = World()
    stdin: dict[str, list[str]] = {}
    original: Callable[..., Any] = FakeConnector.run_shell_command

    def run(self: FakeConnector, command: Any, *words: Any, **named: Any) -> Any:
        # hosts take turns inside of this call
        stdin[self.host.name] = list(named.get("_stdin") or [])
        return original(self, command, *words, **named)

    monkeypatch.setattr(FakeConnector, "run_shell_command", run)
    monkeypatch.setattr(
        FakeConnector,
        "_lookup_response",
        lambda self, text: found.answer(self.host.name, text, stdin[self.host.name]),
    )
    monkeypatch.setenv("TEST_PSK", PSK)
    return found


def _run(link: dict[str, Any] | None = None, **changes: Any) -> Run:
    links = {"a-b": {**(LINK if link is None else link), **changes}}
    return run_on([A, NODE, B], connect, {"ipsec": {"links": links}})


def test_every_host_is_changed_before_one_gateway_proves(world: World) -> None:
    assert _run().failed == set()
    changes = [f"change {name}" for name in (A, NODE, B)]
    assert set(world.calls[: world.calls.index(f"prove {A}")]) == {
        *changes, f"secrets {A}", f"secrets {B}",
    }  # fmt: skip
    assert [call for call in world.calls if call.startswith("prove")] == [f"prove {A}"]
    assert {f"forget {name}" for name in (A, NODE, B)} <= set(world.calls)
    assert not [call for call in world.calls if call.startswith("restore")]


def test_the_key_goes_by_standard_input_alone(world: World) -> None:
    _run()
    for name in (A, B):
        path, data = world.given[name][0].split()
        assert path == "/etc/swanctl/conf.d/secret-underlay-a-b.conf"
        assert PSK.encode().hex() in base64.b64decode(data).decode()
    everything = "\n".join(text for texts in world.texts.values() for text in texts)
    for secret in (PSK, PSK.encode().hex(), world.given[A][0].split()[1]):
        assert secret not in everything
    assert NODE not in world.given


def test_a_failed_proof_brings_every_host_back(world: World) -> None:
    world.proof = (False, ["failed net initiate", "[IKE] received AUTHENTICATION_FAILED notify"])
    assert _run().failed == {A, NODE, B}
    assert {call for call in world.calls if call.startswith("restore")} == {
        f"restore {name}" for name in (A, NODE, B)
    }


def test_a_link_may_stay_unproved(world: World) -> None:
    world.proof = (False, ["failed net initiate", "[IKE] retransmit 1 of request"])
    assert _run(keep_unproved=True).failed == {A, NODE, B}
    assert not [call for call in world.calls if call.startswith("restore")]


def test_narrowed_networks_are_a_failure(world: World) -> None:
    world.proof = (True, [ESTABLISHED.replace("10.20.0.0/24", "10.20.0.0/25")])
    assert _run().failed == {A, NODE, B}


def test_a_nat_that_nobody_wrote_down_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    assert _run().failed == set()
    assert "NAT on the way" not in caplog.text
    world.proof = (True, [ESTABLISHED.replace("INSTALLED", "INSTALLED encap=yes")])
    assert _run().failed == set()
    assert "a-b: there is a NAT on the way" in caplog.text
    assert "set encapsulate: True in ipsec.links.a-b" in caplog.text


def test_the_other_gateway_proves_when_the_first_has_failed(world: World) -> None:
    world.broken = frozenset({f"change {A}"})
    assert _run().failed == {A}
    assert f"prove {B}" in world.calls


def test_a_daemon_without_the_algorithms_is_refused_before_any_change(world: World) -> None:
    world.readings = {name: {"algorithms": ["  AES_CBC[aes]"]} for name in (A, B)}
    assert _run().failed >= {A, B}
    assert not [c for c in world.calls if c in {f"change {A}", f"change {B}", f"secrets {A}"}]


REFUSED: dict[str, dict[str, list[str]]] = {
    "this computer behind the link": {"ssh": ["10.20.0.7 5000 10.10.0.1 22"]},
    "a BGP session behind the link": {"bgp": ["ESTAB 0 0 10.10.0.1:179 10.20.0.9:33000"]},
    "an own network behind the link": {
        "main": ["10.20.0.0/28 dev eth3 proto kernel scope link src 10.20.0.2"]
    },
    "the legacy daemon": {"daemon": ["strongswan-starter enabled active"]},
    "another IKE daemon": {
        "daemon": ["strongswan disabled inactive"],
        "ports": ["  7: 00000000:01F4 00000000:0000 07"],
    },
    "Calico without the pool": {"pools": ["Name: cali40", "Members:", "10.244.0.0/16"]},
    "swanctl.conf without conf.d": {
        "included": [], "daemon": ["version strongSwan 5.9.8", "strongswan enabled active"],
    },
    "no tools and no apt": {"tools": ["ip"]},
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_gateway_is_refused_untouched(world: World, case: str) -> None:
    world.readings = {A: REFUSED[case]}
    assert A in _run().failed
    assert not [call for call in world.calls if call.endswith(A)]


def test_a_refused_gateway_leaves_every_host_of_its_link_alone(world: World) -> None:
    # the link may be up, and a proof that can only fail would cut it
    world.readings = {A: REFUSED["the legacy daemon"]}
    assert _run().failed == {A}
    assert world.calls == []


def test_a_refused_gateway_does_not_hold_other_links(world: World) -> None:
    world.readings = {A: REFUSED["the legacy daemon"]}
    other = {
        **LINK, "ends": {
            "b": {**LINK["ends"]["b"], "networks": ["10.21.0.0/24"]},
            "c": {"address": "192.0.2.9", "networks": ["10.30.0.0/24"]},
        },
    }  # fmt: skip
    world.proof = (True, [OTHER])
    links = {"a-b": LINK, "b-c": other}
    assert run_on([A, NODE, B], connect, {"ipsec": {"links": links}}).failed == {A}
    assert world.calls == [f"secrets {B}", f"change {B}", f"prove {B}", f"forget {B}"]
    assert "a-b" not in world.texts[B][1]


def test_what_is_covered_on_purpose_or_bypassed_passes(world: World) -> None:
    world.readings = {A: {"bgp": ["ESTAB 0 0 10.10.0.1:179 10.20.0.9:33000"]}}
    assert _run(bypass=["10.20.0.9/32"]).failed == set()
    assert _run(accept_covered=["10.20.0.9/32"]).failed == set()


def test_missing_packages_are_installed(world: World) -> None:
    world.readings = {
        A: {"tools": ["ip", "flock", "systemctl", "apt-get"], "daemon": [], "algorithms": []}
    }
    assert _run().failed == set()
    assert world.calls.index(f"install {A}") < world.calls.index(f"start {A}")


def test_a_secret_that_is_none_ends_the_run_before_any_host(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PSK", "two\nlines of secret")
    with pytest.raises(SettingsError) as refused:
        _run()
    assert "ipsec.links.a-b.psk: variable TEST_PSK: more than one line" in str(refused.value)
    assert "of secret" not in str(refused.value)
    assert world.calls == []


def test_no_link_on_a_host_that_has_nothing_changes_nothing(world: World) -> None:
    world.readings = {name: {"hashes": []} for name in (A, NODE, B)}
    assert run_on([A, NODE, B], connect, {}).failed == set()
    assert world.calls == []
