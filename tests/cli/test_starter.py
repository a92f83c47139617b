"""`underlay init`, `underlay settings` and their output."""

from __future__ import annotations

import json

from tests.cli.conftest import Project


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
