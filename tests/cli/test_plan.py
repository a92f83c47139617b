"""`underlay plan`: numbers from an inventory alone, and a refusal with every problem."""

from __future__ import annotations

import json

from tests.cli.conftest import Project


def network(**keys: object) -> tuple[str, str]:
    """The option that sets the section."""
    return "--data", f"network={json.dumps({'cni': 'flannel', 'mtu': 1500, **keys})}"


def test_the_chain_of_every_node(project: Project) -> None:
    done = project.underlay("plan", "inventory.py", *network())
    assert done.returncode == 0, done.stderr
    assert "underlay 1500 -> vxlan 1450 (-50) -> pods 1450" in done.stdout
    document = json.loads(project.underlay("plan", "inventory.py", "--json", *network()).stdout)
    assert (document["pod_mtu"], document["cni_setting"]["value"]) == (1450, 1500)


def test_a_plan_that_cannot_work(project: Project) -> None:
    words = network(pod_mtu=1500, pod_cidr="10.0.0.0/8", service_cidr="10.96.0.0/12")
    done = project.underlay("plan", "inventory.py", *words)
    assert done.returncode == 2
    assert "use at most 1450" in done.stderr
    assert "pod_cidr 10.0.0.0/8" in done.stderr
    assert done.stdout == ""


def test_what_cannot_be_installed_is_no_plan(project: Project) -> None:
    pools = {"a": {"cidr": "10.9.0.0/16"}, "b": {"cidr": "10.244.0.0/16", "block_size": 33}}
    words = network(cni="calico", pod_cidr="10.244.0.0/16", encapsulation="none")
    done = project.underlay(
        "plan", "inventory.py", *words, "--data", f"calico={json.dumps({'pools': pools})}"
    )
    assert done.returncode == 2
    for text in ("pools.a.cidr: outside of", "pools.b.block_size: no block", "routes that BGP"):
        assert done.stderr.count(text) == 1
