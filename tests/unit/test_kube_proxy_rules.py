"""What hosts may not want differently, and who owns the connection tracking table."""

from __future__ import annotations

from typing import Any

from underlay.features import all_sections
from underlay.features.kube_proxy.rules import RULES
from underlay.settings import RawHost
from underlay.settings.read import read_fleet

OWN = {"sysctl": {"profiles": ["kubernetes-node"]}}


def problems(*hosts: dict[str, Any]) -> list[str]:
    fleet, found = read_fleet(
        [RawHost(f"n{i}", (), data, {}) for i, data in enumerate(hosts, 1)], all_sections()
    )
    assert found == []
    return [str(p) for rule in RULES for p in rule(fleet)]


def test_hosts_that_agree_are_no_problem() -> None:
    section = {"kube_proxy": {"mode": "ipvs", "ipvs": {"scheduler": "lc"}}}
    assert problems(section, section) == []


def test_one_config_map_serves_all() -> None:
    found = problems(
        {"kube_proxy": {"conntrack": {"max_per_core": 0}}},
        {"kube_proxy": {"conntrack": {"max_per_core": 1}, "on_failure": "halt"}},
    )
    assert [line.split(":")[0:2] for line in found] == [
        ["n2", " kube_proxy.conntrack"], ["n2", " kube_proxy.on_failure"],
    ]  # fmt: skip


def test_two_hosts_are_not_one_node() -> None:
    found = problems({"kube_proxy": {"node_name": "a"}}, {"kube_proxy": {"node_name": "a"}})
    assert found == ["n2: kube_proxy.node_name: is the node of n1 too (got 'a'); name the node of"
                     " this host"]  # fmt: skip


def test_the_table_has_one_owner() -> None:
    both = {**OWN, "kube_proxy": {"conntrack": {"max_per_core": 32768}}}
    assert len(problems(both)) == 1
    assert "which the sysctl section sets too" in problems(both)[0]
    assert problems({**OWN, "kube_proxy": {"conntrack": {"max_per_core": 0}}}) == []
    assert problems({"kube_proxy": {"conntrack": {"max_per_core": 32768}}}) == []
