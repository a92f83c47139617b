"""A stranger installs the wheel, works in an empty folder, and needs nothing of the checkout."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.package.conftest import ROOT, Installed

#: A host that refuses every connection: nothing listens on port 1.
REFUSED = 'workers = [("w1", {"ssh_hostname": "127.0.0.1", "ssh_port": 1})]\n'


@pytest.fixture
def project(installed: Installed, tmp_path: Path) -> Path:
    """What `underlay init` writes into an empty folder."""
    done = installed.run(tmp_path, "underlay", "init", ".")
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_wheel_holds_the_package_and_its_templates_and_no_more(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    templates = {str(p.relative_to(ROOT)) for p in (ROOT / "templates").rglob("*") if p.is_file()}
    templates = {name for name in templates if "__pycache__" not in name}
    assert templates <= {name.removeprefix("underlay/") for name in names}
    assert "underlay/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"underlay"}
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_sdist_holds_the_documentation_and_builds_the_wheel(installed: Installed) -> None:
    with tarfile.open(installed.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "docs/settings.md", "inventory.py"} <= names
    assert not {name for name in names if name.startswith((".venv", ".github", "tests"))}


def test_help_version_and_settings_of_the_starter(installed: Installed, project: Path) -> None:
    assert "Usage: underlay" in installed.run(project, "underlay", "--help").stdout
    assert installed.run(project, "underlay", "--version").stdout.startswith("underlay, version ")
    done = installed.run(project, "underlay", "settings", "inventory.py", "--json")
    assert done.returncode == 0, done.stderr
    assert [host["name"] for host in json.loads(done.stdout)["hosts"]] == ["cp1", "w1", "w2"]


def test_a_host_that_refuses_is_exit_code_5(installed: Installed, project: Path) -> None:
    (project / "inventory.py").write_text(REFUSED)
    done = installed.run(project, "underlay", "preflight", "inventory.py", "--format", "json")
    assert done.returncode == 5, done.stdout + done.stderr
    assert json.loads(done.stdout)["hosts"][0]["name"] == "w1"


def test_preflight_reads_this_computer(installed: Installed, project: Path) -> None:
    (project / "inventory.py").write_text('workers = ["@local"]\n')
    words = ("preflight", "inventory.py", "--no-probe", "--for", "sysctl", "--format", "json")
    done = installed.run(project, "underlay", *words)
    # what it finds is this computer's; 5 would be a host that was not read
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    found = {check["id"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert found["node/answers"] == "pass"


@pytest.mark.parametrize("deploy", ["underlay.features.sysctl.deploy:tune", "deploys/sysctl.py"])
def test_a_deploy_runs_by_its_name_and_by_its_file(
    installed: Installed, project: Path, deploy: str
) -> None:
    (project / "inventory.py").write_text(
        'workers = [("@local", {"sysctl": {"values": {"net.core.somaxconn": {"at_least": 1}}}})]\n'
    )
    done = installed.run(project, "pyinfra", "--json", "--dry", "inventory.py", deploy)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = json.loads(done.stdout)["plan"]
    assert "Keep kernel settings" in json.dumps(plan), plan


def test_a_deploy_by_its_name_takes_invalid_settings_to_exit_code_2(
    installed: Installed, project: Path
) -> None:
    (project / "inventory.py").write_text('workers = [("@local", {"sysctl": {"profile": []}})]\n')
    name = "underlay.features.sysctl.deploy:tune"
    done = installed.run(project, "pyinfra", "-y", "inventory.py", name)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "did you mean 'profiles'?" in done.stdout + done.stderr
