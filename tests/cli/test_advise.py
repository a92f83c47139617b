"""`underlay advise` as a user types it, without a cluster."""

from __future__ import annotations

import json

from tests.cli.conftest import Project
from tests.cli.test_schemas import schema

ALL = """
network = {"pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/12"}
kube_proxy = {"mode": "ipvs", "accept_deprecated": True}
"""


def _project(project: Project) -> None:
    project.write("inventory.py", 'control_plane = ["@local"]\nworkers = ["w1.invalid"]\n')
    project.write("group_data/all.py", ALL)


def test_advice_follows_the_schema_and_its_settings_are_accepted(project: Project) -> None:
    _project(project)
    words = ("--no-cluster", "--nodes", "300", "--services", "4000", "--kubernetes", "1.34",
             "--need", "network-policy")  # fmt: skip
    done = project.underlay("advise", "inventory.py", *words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    schema("advice").validate(found)
    assert found["situation"]["nodes"] == 300
    chosen = {each["id"]: each["choose"] for each in found["advice"]}
    assert chosen["cni"] == "calico"
    assert chosen["proxy-mode"] == "nftables"
    assert found["settings"]["network"]["pod_cidr"] == "10.244.0.0/16"
    text = "".join(f"{name} = {value!r}\n" for name, value in found["settings"].items())
    project.write("group_data/all.py", text)
    done = project.underlay("settings", "inventory.py")
    assert done.returncode == 0, done.stderr


def test_text_fits_and_names_what_is_not_known(project: Project) -> None:
    _project(project)
    done = project.underlay("advise", "inventory.py", "--no-cluster")
    assert done.returncode == 0, done.stderr
    assert "Kubernetes not known, oldest kernel not known" in done.stdout
    assert "kube-proxy's mode: consider nftables (now ipvs)" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def test_a_cluster_that_cannot_be_asked_is_a_note(project: Project) -> None:
    _project(project)
    project.write("group_data/all.py", ALL + 'cluster = {"kubeconfig": "/nowhere"}\n')
    done = project.underlay("advise", "inventory.py", "--json")
    assert done.returncode == 0, done.stderr
    (note,) = json.loads(done.stdout)["situation"]["notes"]
    assert note.startswith("the cluster was not asked: cluster.kubeconfig: no such file")


def test_a_version_that_is_none_is_refused(project: Project) -> None:
    _project(project)
    done = project.underlay("advise", "inventory.py", "--kubernetes", "new")
    assert done.returncode == 2
    assert "--kubernetes: not a version (got 'new'); write it as 1.34" in done.stderr
