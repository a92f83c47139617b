"""`underlay init`, `underlay settings` and their output."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import yaml
from tests.cli.conftest import ROOT, Project

from underlay.cli import group


def test_the_starter_is_valid_as_it_is(project: Project) -> None:
    done = project.underlay("settings", "inventory.py")
    assert done.returncode == 0, done.stderr
    assert "cp1  (control_plane" in done.stdout
    assert "[group_data/all.py]" in done.stdout


def test_the_starter_never_overwrites(project: Project) -> None:
    done = project.underlay("init", ".")
    assert done.returncode == 1
    assert "exists already; choose an empty folder" in done.stderr


def test_every_value_names_where_it_came_from(project: Project) -> None:
    project.write("group_data/workers.py", 'sysctl = {"profiles": ["large-cluster"]}\n')
    done = project.underlay(
        "settings", "inventory.py", "--json", "--data", 'kube_proxy={"probes": 3}'
    )
    assert done.returncode == 0, done.stderr
    hosts = {host["name"]: host for host in json.loads(done.stdout)["hosts"]}
    sources = {
        name: {row["key"]: (row["value"], row["source"]) for row in host["settings"]}
        for name, host in hosts.items()
    }
    assert sources["w1"]["sysctl.profiles"] == (["large-cluster"], "group_data/workers.py")
    assert sources["cp1"]["sysctl.profiles"] == (["kubernetes-node"], "group_data/all.py")
    assert sources["w1"]["kube_proxy.probes"] == (3, "--data")
    assert sources["w1"]["kube_proxy.rollout.canary"] == (1, "defaults")


def test_the_starter_has_every_deploy_as_it_is_here(project: Project) -> None:
    for path in sorted((ROOT / "deploys").glob("*.py")):
        found = project.folder / "deploys" / path.name
        told = f"cp deploys/{path.name} templates/init/deploys/"
        assert found.is_file(), told
        assert found.read_text() == path.read_text(), told


def test_the_workflows_are_what_they_say(project: Project) -> None:
    folder = project.folder / ".github/workflows"
    found = {path.name: yaml.safe_load(path.read_text()) for path in folder.iterdir()}
    assert set(found) == {"check.yml", "apply.yml"}
    apply = found["apply.yml"]["jobs"]["apply"]
    assert apply["environment"] == "cluster", "an environment is what asks for an approval"
    plan = found["check.yml"]["jobs"]["plan"]
    assert "head.repo.full_name == github.repository" in plan["if"], "strangers reach no node"
    text = "".join(step.get("run", "") for step in plan["steps"])
    for word in ("underlay preflight", "pyinfra --dry --diff", "gh pr comment"):
        assert word in text
    for workflow in found.values():
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            for name in re.findall(r"deploys/\w+\.py", str(job)):
                assert (project.folder / name).is_file(), name


def test_the_workflows_use_fixed_actions_and_an_environment_of_their_own(
    project: Project, tmp_path: Path
) -> None:
    """A tag can be moved, and ubuntu's python takes no package of pip's (PEP 668)."""
    for path in (project.folder / ".github/workflows").iterdir():
        text = path.read_text()
        used = re.findall(r"uses: (.+)", text)
        assert used
        for action in used:
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
        for job in yaml.safe_load(text)["jobs"].values():
            scripts = [step["run"] for step in job["steps"] if "run" in step]
            (install,) = [script for script in scripts if "install" in script]
            assert scripts[0] == install, "everything else needs it"
            # as it runs, without the package itself
            asked = install.replace("install underlay", "--version")
            place = tmp_path / path.stem
            place.mkdir(exist_ok=True)
            paths = place / "paths"
            environment = {**os.environ, "RUNNER_TEMP": str(place), "GITHUB_PATH": str(paths)}
            subprocess.run(["bash", "-ec", asked], env=environment, check=True, timeout=120)
            assert (Path(paths.read_text().splitlines()[-1]) / "python3").exists()


def test_the_dry_run_is_kept_as_an_artefact(project: Project) -> None:
    text = (project.folder / ".github/workflows/check.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["plan"]["steps"]
    (kept,) = [step for step in steps if "upload-artifact" in step.get("uses", "")]
    assert kept["if"] == "always()"
    assert {"plan.txt", "preflight.html"} <= set(kept["with"]["path"].split())


def test_every_command_of_the_workflows_and_the_readme_is_one(project: Project) -> None:
    texts = [(project.folder / "README.md").read_text()]
    for path in (project.folder / ".github/workflows").iterdir():
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for script in (step["run"] for step in job["steps"] if "run" in step):
                assert "${{" not in script, "a value is given by the environment, never as code"
                subprocess.run(["bash", "-n", "-c", script], check=True)
                texts.append(script)
    lines = [line.strip().partition(" #")[0] for text in texts for line in text.splitlines()]
    ours = [line for line in lines if line.startswith("underlay ")]
    assert len(ours) >= 7
    for line in ours:
        name, *words = shlex.split(line)[1:]
        command = group.get_command(click.Context(group), name)
        assert command is not None, line
        command.make_context(name, words)
