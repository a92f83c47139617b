"""A hostile value in every setting of every section is refused, or is one word to every shell.

The sections, their settings and their deploys are found from the code, so that a new one is
covered by being there. Each value that the settings let through goes through the real deploys onto
simulated hosts, and every command that a host is given is checked by `sh -n` and run in a sandbox.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError
from tests.fake.test_wireguard import HUB, OVERLAY, A, B
from tests.fake.test_wireguard import World as Overlays
from tests.fake.world import World, run_on
from tests.hostile.hosts import Heard, deploys_of
from tests.hostile.sandbox import Sandbox
from tests.hostile.walk import BENIGN, accepted, places

from underlay.errors import UnderlayError
from underlay.features import all_sections
from underlay.settings import Section
from underlay.settings.read import read_section

DO = ":>$CANARY"
BAD = (
    f"$({DO})", f"`{DO}`", f"';{DO};'", f'";{DO};"', f"\n{DO}\n", f"a;{DO}", f"a|{DO}",
    f"a&&{DO}#", f"\\';{DO};'", f"${{x:-$({DO})}}", "--hostile", "-Zq", "../../etc/passwd", "%s%n",
    "\u00e9\U0001f600\u202e", "x" * 10_000, "a\0b", "{{ 7 * 7 }}", "*", "~root", "a b", "", "EOF",
)  # fmt: skip
#: What a validator that looks at only one end or one line would let through.
ENDS = ("\n", f"$({DO})", f"\n{DO}", f";{DO}")
#: Valid sections that lead a deploy further than what is made up from the model.
BASES: dict[str, dict[str, Any]] = {
    "wireguard": {"overlays": {"wg0": OVERLAY}},
    "sysctl": {"values": {"kernel.core_pattern": "core"}},
}
HOSTS = {"wireguard": [HUB, A, B], "kube_proxy": ["@fake/n1"]}
#: Sections whose deploys reach a host here; without a command nothing would be shown.
REACH = {"kernel_modules", "sysctl", "kube_proxy", "wireguard", "preflight"}

Make = Callable[[int], World]


def hostile(section: type[Section], base: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """(path, value, section) of every hostile value that the section alone lets through."""
    found: dict[tuple[str, str], Any] = {}
    for place in places(section, base):
        fits = [word for word in BENIGN if isinstance(word, str)]
        fits = [word for word in fits if accepted(section, place.fill(word))]
        for value in (*BAD, *(f"{word}{end}" for word in fits for end in ENDS)):
            raw = place.fill(value)
            if accepted(section, raw):
                found.setdefault((place.path, value), raw)
    return [(path, value, raw) for (path, value), raw in found.items()]


def _told(section: type[Section], base: dict[str, Any]) -> None:
    """A refusal is lines that a person can read, whatever the value was."""
    for place in places(section, base):
        for value in BAD:
            _, problems = read_section("n1", place.fill(value), section)
            for problem in problems:
                assert "\n" not in str(problem), repr(str(problem))
                assert len(str(problem)) < 2000


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
def test_a_refusal_stays_one_line(section: type[Section]) -> None:
    _told(section, BASES.get(section.KEY, {}))


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
def test_nothing_is_run(
    section: type[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_world: Make
) -> None:
    let_through = hostile(section, BASES.get(section.KEY, {}))
    sandbox = Sandbox(tmp_path)
    names = HOSTS.get(section.KEY, ["@fake/n1", "@fake/n2"])
    seen: dict[str, list[set[str]]] = {}
    for path, value, raw in let_through:
        before = seen.setdefault(path, [])
        if len(before) > 2 and before[0] == before[1] == before[2]:
            # three values, one and the same text: this setting is in no command
            continue
        commands: set[str] = set()
        for deploy in deploys_of(section):
            heard = _hosts(section, monkeypatch, make_world)
            with suppress(UnderlayError, DeployError):
                run_on(names, deploy, {section.KEY: raw})
            commands.update(heard.commands)
        before.append(commands)
        for command in commands:
            sandbox.run(command)
            assert not sandbox.canary.exists(), f"{section.KEY}.{path}: {value!r}\n{command}"
    assert sandbox.done or section.KEY not in REACH
    if let_through:
        options = {value for value in BAD if value.startswith("-")} & sandbox.arguments()
        assert not options, "a value became an option of a program"
    print(f"{section.KEY}: {len(let_through)} values let through, {len(sandbox.done)} commands")


def _hosts(section: type[Section], monkeypatch: pytest.MonkeyPatch, make_world: Make) -> Heard:
    """Simulated hosts; those of a feature that has a world of its own behave as there."""
    if section.KEY == "kube_proxy":
        # of one node, because two may not have one name
        world = make_world(1)
        heard = Heard(monkeypatch)
        heard.answer = world.answer
        return heard
    heard = Heard(monkeypatch)
    if section.KEY == "wireguard":
        heard.answer = Overlays().answer
    return heard


@pytest.mark.parametrize(
    "name", [f"$({DO})", f"';{DO};'", f"`{DO}`", f"\n{DO}", "-Zq", "a b", "*", "x" * 200]
)
def test_the_name_of_a_host_is_one_word_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host names come from the inventory and stand in files and in other hosts' commands."""
    (deploy,) = deploys_of(_section("wireguard"))
    hub, spoke = f"@fake/{name}", "@fake/a"
    overlay = {
        **OVERLAY,
        "hubs": [hub],
        "preshared_keys": True,
        "nodes": {
            hub: {"address": "10.200.0.100", "endpoint": "203.0.113.1:51820"},
            spoke: {"address": "10.200.0.1", "endpoint": "203.0.113.2:51820"},
        },
    }
    heard = Heard(monkeypatch)
    heard.answer = Overlays().answer
    refused = False
    try:
        run_on([hub, spoke], deploy, {"wireguard": {"overlays": {"wg0": overlay}}})
    except AssertionError:
        # the world knows no preshared keys; what it was asked until then counts
        pass
    except (UnderlayError, DeployError):
        refused = True
    assert heard.commands or refused
    sandbox = Sandbox(tmp_path)
    for command in heard.commands:
        sandbox.run(command)
        assert not sandbox.canary.exists(), command
    assert "-Zq" not in sandbox.arguments() or name != "-Zq"


def _section(key: str) -> type[Section]:
    return next(section for section in all_sections() if key == section.KEY)


@pytest.mark.parametrize("text", [f"echo $({DO})", f"echo `{DO}`", f"echo 'a';{DO};''"])
def test_the_sandbox_sees_what_is_run(text: str, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.run(text)
    assert sandbox.canary.exists()


def test_the_sandbox_keeps_the_rest_of_the_machine_out(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    (sandbox.root / "etc").mkdir()
    sandbox.run("echo x > /etc/underlay-was-here; rm -rf --no-preserve-root /")
    assert not Path("/etc/underlay-was-here").exists()
    assert (sandbox.root / "etc/underlay-was-here").read_text() == "x\n"
    assert "--no-preserve-root" in sandbox.arguments()
