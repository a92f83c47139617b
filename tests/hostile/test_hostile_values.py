"""A hostile value in every setting of every section is refused, or is one word to every shell.

The sections, their settings and their deploys are found from the code, so that a new one is
covered by being there. Each value that the settings let through goes through the real deploys onto
simulated hosts, and every command that a host is given is checked by `sh -n` and run in a sandbox.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError
from tests.fake.test_wireguard import OVERLAY
from tests.fake.test_wireguard import World as Overlays
from tests.fake.world import World, run_on
from tests.hostile.hosts import Heard, deploys_of
from tests.hostile.sandbox import DO, Sandbox
from tests.hostile.scenes import SCENES, Scene, Stage, scene_of, scenes_of
from tests.hostile.walk import bad, hostile, places

from underlay.errors import UnderlayError
from underlay.facts.script import MARK
from underlay.features import FEATURES, all_sections
from underlay.features.calico import manifests
from underlay.settings import Section
from underlay.settings.read import read_section

BAD = bad(DO)


#: What differs from run to run with one and the same section: moments, random names, and the plan
#: of probes, which is compressed and has no letter that a shell knows.
_OF_THE_RUN = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b[0-9a-f]{8,}\b|\beN[\w+/]{40,}=*")
#: Scene -> settings whose hostile values are let through and stand in a command as they are.
CARRIED: dict[str, set[str]] = {
    "sysctl": {"values.kernel.core_pattern"},
    "cluster": {"admin_conf"},
    "cluster, with Calico": {"admin_conf"},
}

Make = Callable[[int], World]


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
    for name in scenes_of(section):
        _told(section, dict(scene_of(name).base))


#: Every section in each of its scenes.
WALKS = [(section, name) for section in all_sections() for name in scenes_of(section)]


def test_every_scene_and_every_deploy_of_a_feature_is_walked() -> None:
    assert {name for _, name in WALKS} >= set(SCENES)
    for feature in FEATURES:
        walked = {
            deploy
            for section in feature.sections
            for name in scenes_of(section)
            for deploy in scene_of(name).deploys or feature.deploys
        }
        assert walked == set(feature.deploys)
    # every section of another feature's is read by it, too
    shared = [name for _, name in WALKS if name.partition(",")[0] == "cluster"]
    asking = {deploy for name in shared for deploy in scene_of(name).deploys}
    assert asking >= {name for name in deploys_of(_section("cluster")) if _asks_the_api(name)}


def _asks_the_api(deploy: str) -> bool:
    module = inspect.getmodule(deploys_of(_section("cluster"))[deploy].__wrapped__)  # type: ignore[attr-defined]
    return "api_of(" in inspect.getsource(module)  # type: ignore[arg-type]


@pytest.mark.parametrize(("section", "name"), WALKS, ids=[name for _, name in WALKS])
def test_nothing_is_run(
    section: type[Section],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_world: Make,
) -> None:
    scene = scene_of(name)
    walk = Walk(section, scene, Sandbox(tmp_path / "sandbox"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(manifests, "_fetch", _no_network)
    stage = Stage(monkeypatch, make_world, work)
    walk.step(scene, stage, "", "", dict(scene.base))
    told = ", ".join(f"{name} {len(found)}" for name, found in walk.commands.items())
    for deploy, found in walk.commands.items():
        wanted = scene.reaches.get(deploy, "")
        assert any(MARK not in command and wanted in command for command in found), (
            f"{deploy} only reads, so nothing would be shown: {told}"
        )
    let_through = hostile(section, scene.base, DO)
    for path, value, raw in let_through:
        walk.step(scene, stage, path, value, raw)
    if let_through:
        options = {value for value in BAD if value.startswith("-")} & walk.sandbox.arguments()
        assert not options, "a value became an option of a program"
    seen = {path for path, text in walk.carried if path}
    print(f"{name}: {len(let_through)} values let through; {told}; carried: {sorted(seen)}")
    assert seen >= CARRIED.get(name, set()), "these settings reach a shell, and did not here"


def _no_network(url: str) -> bytes:
    raise AssertionError(f"fetches {url}")


class Walk:
    """All runs of a section's deploys.

    commands: deploy -> what it gave hosts; carried: (path of a setting, command that holds it).
    """

    def __init__(self, section: type[Section], scene: Scene, sandbox: Sandbox) -> None:
        self.section = section
        self.sandbox = sandbox
        self.deploys = {
            name: found
            for name, found in deploys_of(section).items()
            if name in scene.deploys or not scene.deploys
        }
        self.commands: dict[str, set[str]] = {name: set() for name in self.deploys}
        self.carried: set[tuple[str, str]] = set()
        self._seen: dict[str, list[set[str]]] = {}

    def step(self, scene: Scene, stage: Stage, path: str, value: str, raw: Any) -> None:
        """Run every deploy with one value, and every command that comes of it."""
        before = self._seen.setdefault(path, [])
        if len(before) > 2 and before[0] == before[1] == before[2]:
            # three values, one and the same text: this setting is in no command
            return
        commands: set[str] = set()
        for name, deploy in self.deploys.items():
            heard = scene.play(stage)
            with suppress(UnderlayError, DeployError):
                run_on(
                    list(scene.hosts),
                    deploy,
                    {**scene.others, self.section.KEY: raw},
                    {host: dict(found) for host, found in scene.own.items()},
                    scene.groups,
                )
            self.commands[name].update(heard.commands)
            commands.update(heard.commands)
        before.append({_OF_THE_RUN.sub("", command) for command in commands})
        for command in commands:
            if DO in value and DO in command:
                self.carried.add((path, command))
            self.sandbox.run(command)
            assert not self.sandbox.canary.exists(), (
                f"{self.section.KEY}.{path}: {value!r}\n{command}"
            )


@pytest.mark.parametrize(
    "name", [f"$({DO})", f"';{DO};'", f"`{DO}`", f"\n{DO}", "-Zq", "a b", "*", "x" * 200]
)
def test_the_name_of_a_host_is_one_word_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host names come from the inventory and stand in files and in other hosts' commands."""
    (deploy,) = deploys_of(_section("wireguard")).values()
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
