"""An inventory in YAML: the same data, the same problems, each with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import ROOT, Project
from tests.cli.listener import Listener

from underlay.yaml_inventory import groups

LOADER = 'from underlay.yaml_inventory import groups\nglobals().update(groups("hosts.yaml"))\n'
GOOD = """
data:
  ssh_port: {port}
  ssh_hostname: 127.0.0.1
  sysctl: {{profiles: [kubernetes-node]}}
groups:
  workers:
    data:
      sysctl: &wide {{profiles: [large-cluster]}}
    hosts:
      w1:
      w2: {{kube_proxy: {{probes: 3}}}}
  edge:
    hosts:
      w2:
      e1: {{sysctl: *wide}}
"""
#: One mistake per line that has a number in WRONG_LINES.
WRONG = """data:
  sysctl: {profile: [kubernetes-node]}
  kube_proxy: {mode: ipvss}
  sysctl: {}
group: {}
groups:
  work-ers: {}
  workers:
    dat: {}
    hosts:
      12: {}
      w1: {kube_proxi: {}}
      w2: [1]
      w3: {network: {mtu: 1500, mtu: 9000}}
"""
WRONG_LINES = (
    "hosts.yaml:4: data.sysctl: stands here twice; keep one of the two",
    "hosts.yaml:3 (w1, w2, w3): kube_proxy.mode:",
    "hosts.yaml:5: group: no such key (got 'group'); did you mean 'groups'?",
    "hosts.yaml:7: groups.work-ers: not the name of a group",
    "hosts.yaml:9: groups.workers.dat: no such key (got 'dat'); did you mean 'data'?",
    'hosts.yaml:11: groups.workers.hosts.12: the key is no text (got 12); quote it: "12"',
    "hosts.yaml:13: groups.workers.hosts.w2: not a mapping (got [1])",
    "hosts.yaml:14: mtu: stands here twice",
    "hosts.yaml:2 (w1, w2, w3): sysctl.profile: no such setting",
    "w1: kube_proxi: no section of that name (got 'kube_proxi'); did you mean 'kube_proxy'?",
)


@pytest.fixture
def yaml_project(tmp_path: Path) -> Project:
    """An inventory file that reads hosts.yaml, and the config.py of a starter."""
    found = Project(tmp_path)
    found.write("inventory.py", LOADER)
    found.write("config.py", (ROOT / "templates/init/config.py").read_text())
    found.write("deploys/sysctl.py", (ROOT / "deploys/sysctl.py").read_text())
    return found


def test_the_settings_name_the_lines_they_came_from(yaml_project: Project) -> None:
    yaml_project.write("hosts.yaml", GOOD.format(port=22))
    done = yaml_project.underlay("settings", "inventory.py", "--json")
    assert done.returncode == 0, done.stderr
    hosts = {host["name"]: host for host in json.loads(done.stdout)["hosts"]}
    assert list(hosts) == ["w1", "w2", "e1"], "the order of the file"
    assert set(hosts["w2"]["groups"]) >= {"workers", "edge"}
    told = {
        name: {row["key"]: (row["value"], row["source"]) for row in host["settings"]}
        for name, host in hosts.items()
    }
    assert told["w1"]["sysctl.profiles"] == (["large-cluster"], "hosts.yaml:9")
    assert told["w2"]["kube_proxy.probes"] == (3, "host")
    assert told["e1"]["sysctl.profiles"] == (["large-cluster"], "host")
    assert told["e1"]["kube_proxy.probes"] == (5, "defaults")


def test_group_data_wins_and_says_so(yaml_project: Project) -> None:
    yaml_project.write("hosts.yaml", GOOD.format(port=22))
    yaml_project.write("group_data/workers.py", 'sysctl = {"profiles": []}\n')
    done = yaml_project.underlay("settings", "inventory.py", "--host", "w1")
    assert "[]  [group_data/workers.py]" in done.stdout


@pytest.mark.parametrize("command", ["settings", "deploy"])
def test_every_mistake_is_told_at_once_with_its_line(yaml_project: Project, command: str) -> None:
    yaml_project.write("hosts.yaml", WRONG)
    if command == "settings":
        done = yaml_project.underlay("settings", "inventory.py")
    else:
        done = yaml_project.pyinfra("-y", "inventory.py", "deploys/sysctl.py")
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    assert "Traceback" not in text
    for line in WRONG_LINES:
        assert line in text, text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "hosts.yaml: the file: No such file or directory; give its path"),
        ("", "hosts.yaml: the file: empty; write `groups:` and hosts below it"),
        ("a: [1\n", "line 2: not YAML:"),
        ("- 1\n", "hosts.yaml:1: the file: not a mapping (got [1])"),
        ("data: !!python/object/apply:os.system [id]\n", "line 1: not YAML: could not determine"),
        ("groups: {}\n", "has no host; add a list of hosts to it"),
    ],
)
def test_a_file_that_is_none_is_exit_code_2(
    yaml_project: Project, text: str | None, said: str
) -> None:
    if text is not None:
        yaml_project.write("hosts.yaml", text)
    done = yaml_project.underlay("settings", "inventory.py")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    run = yaml_project.pyinfra("-y", "inventory.py", "deploys/sysctl.py")
    assert run.returncode == 2, run.stdout + run.stderr


def test_a_deploy_reaches_its_hosts(yaml_project: Project, listener: Listener) -> None:
    yaml_project.write("hosts.yaml", GOOD.format(port=listener.port))
    done = yaml_project.pyinfra("-y", "inventory.py", "deploys/sysctl.py")
    assert done.returncode != 0
    assert listener.count > 0


def test_the_example_is_read_by_the_inventory_beside_it() -> None:
    found = Project(ROOT).underlay("settings", "inventories/yaml.py", "--host", "w2")
    assert found.returncode == 0, found.stderr
    assert "vxlan-throughput" in found.stdout
    hosts, data = groups(ROOT / "inventories/example.yaml")["all"]
    assert [name for name, _ in hosts] == ["cp1", "w1", "w2"]
    assert set(data.places) == {"ssh_user", "kernel_modules", "sysctl", "kube_proxy"}
