"""`underlay route-reflectors plan`, and what an inventory with mistakes ends in."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Project
from tests.cli.listener import Listener
from tests.cli.test_schemas import schema

INVENTORY = 'control_plane = ["cp1"]\nworkers = ["w1", "w2", "w3"]\n'
GROUPS = '{"all": {"cluster_id": "244.0.0.1", "reflectors": ["w1", "w2"]}}'
MISTAKES = """
route_reflectors = {
    "as_number": 4294967296,
    "groups": {
        "a": {"cluster_id": "rr", "reflectors": ["w1", "w2"]},
        "b": {"cluster_id": "244.0.0.1", "reflectors": ["w1", "w2"], "clients": "rack = a"},
    },
}
"""
CROSS = """
route_reflectors = {
    "groups": {
        "a": {"cluster_id": "244.0.0.1", "reflectors": ["w1"]},
        "b": {"cluster_id": "244.0.0.1", "reflectors": ["w2", "w33"]},
    },
}
"""


def _project(project: Project, text: str, inventory: str = INVENTORY) -> Project:
    project.write("inventory.py", inventory)
    project.write("group_data/all.py", text)
    return project


def test_the_plan_as_text_and_as_its_schema(project: Project) -> None:
    _project(project, f"route_reflectors = {{'groups': {GROUPS}}}\n")
    done = project.underlay("route-reflectors", "plan", "inventory.py", "--nodes", "300")
    assert done.returncode == 0, done.stderr
    assert "BGP sessions in all                    44850       597" in done.stdout
    assert "w1 down: every route stays" in done.stdout
    done = project.underlay("route-reflectors", "plan", "inventory.py", "--json", "--blocks", "3")
    found = json.loads(done.stdout)
    schema("route-reflectors").validate(found)
    assert (found["nodes"], found["planned"]["routes_per_node"]) == (4, 9)
    assert found["groups"][0]["clients"] == 2


def test_a_single_reflector_is_told(project: Project) -> None:
    groups = GROUPS.replace(', "w2"', "")
    _project(project, f"route_reflectors = {{'groups': {groups}, 'allow_single': True}}\n")
    done = project.underlay("route-reflectors", "plan", "inventory.py")
    assert "w1 down: 3 nodes miss routes, as cp1" in done.stdout


def test_labels_that_only_the_cluster_knows(project: Project) -> None:
    groups = GROUPS[:-2] + ', "clients": "rack == \'a\'"}}'
    _project(project, f"route_reflectors = {{'groups': {groups}}}\n")
    done = project.underlay("route-reflectors", "plan", "inventory.py")
    assert done.returncode == 2
    assert "looks at the label rack, which only the cluster knows; add --live" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MISTAKES, ("3 problems", "4294967296", "not an IPv4 address: 'rr'",
                    "not a Calico selector")),
        (CROSS, ("3 problems", "a single reflector", "is the id of a too",
                 "no host of that name in the inventory (got 'w33')")),
    ],
)  # fmt: skip
def test_mistakes_are_listed_before_anybody_is_connected(
    project: Project, listener: Listener, text: str, words: tuple[str, ...]
) -> None:
    data = f'{{"ssh_hostname": "127.0.0.1", "ssh_port": {listener.port}}}'
    hosts = ", ".join(f'("{name}", {data})' for name in ("w1", "w2", "w3"))
    _project(project, text, f"workers = [{hosts}]\n")
    project.write("deploys/route_reflectors.py", _ENTRY)
    for done in (
        project.underlay("route-reflectors", "plan", "inventory.py"),
        project.pyinfra("-y", "inventory.py", "deploys/route_reflectors.py"),
    ):
        assert done.returncode == 2, done.stdout + done.stderr
        for word in words:
            assert word in done.stdout + done.stderr
    assert listener.count == 0


_ENTRY = "from underlay.features.route_reflectors.deploy import reflect\nreflect()\n"
