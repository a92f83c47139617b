"""What advice is told of an inventory and of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from underlay.advice.model import Need, Situation
from underlay.cluster.objects import CONFIG_MAP, DAEMON_SET, NODE, SERVICE, Kind
from underlay.errors import ClusterError
from underlay.features import all_sections
from underlay.features.advising import dotted, situation, with_cluster
from underlay.settings.fleet import RawHost
from underlay.settings.read import read_fleet


class Server:
    """An API server that knows a few objects; a kind it does not know is forbidden."""

    def __init__(self, config: str = "", daemons: tuple[str, ...] = ()) -> None:
        self._config = config
        self._lists: dict[Kind, list[dict[str, Any]]] = {
            SERVICE: [{}, {}, {}],
            NODE: [
                {"status": {"nodeInfo": {"kernelVersion": release}}}
                for release in ("6.1.0-40-amd64", "5.10.0", "")
            ],
            DAEMON_SET: [{"metadata": {"name": name}} for name in daemons],
        }

    def version(self) -> str:
        return "v1.34.2"

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        if not self._lists[kind]:
            raise ClusterError(f"{kind.plural}: cannot list it (403); grant it\nmore")
        return self._lists[kind]

    def find(self, kind: Kind, name: str, namespace: str) -> dict[str, Any] | None:
        assert (kind, name, namespace) == (CONFIG_MAP, "kube-proxy", "kube-system")
        return {"data": {"config.conf": self._config}} if self._config else None


def _situation(*hosts: tuple[str, str, dict[str, Any]], needs: tuple[Need, ...] = ()) -> Situation:
    raw = [RawHost(name, (group,), data, {}) for name, group, data in hosts]
    fleet, problems = read_fleet(raw, all_sections())
    assert not problems
    return situation(fleet, needs)


def test_an_inventory_alone() -> None:
    one = {"network": {"node_cidr": "192.0.2.0/24", "address": "192.0.2.1", "mtu": 1400}}
    two = {"network": {"node_cidr": "192.0.2.0/24", "address": "192.0.2.2"}}
    found = _situation(("a", "control_plane", one), ("b", "workers", two), needs=(Need.SIMPLE,))
    assert (found.nodes, found.mode, found.one_network, found.mtu) == (2, None, True, 1400)
    assert (found.control_plane, found.workers, found.tunnel) == (("a",), ("b",), False)
    outside = {"network": {"node_cidr": "192.0.2.0/24", "address": "203.0.113.1"}}
    assert _situation(("a", "hubs", one), ("b", "spokes", outside)).one_network is False
    assert _situation(("a", "hubs", one), ("b", "spokes", {})).one_network is None
    assert _situation(("a", "hubs", one)).tunnel
    assert _situation(("a", "workers", {"kube_proxy": {"mode": "ipvs"}})).mode == "ipvs"


def test_a_cluster_adds_what_it_knows() -> None:
    server: Any = Server("mode: ipvs\n", ("kube-flannel-ds",))
    found = with_cluster(Situation(nodes=1, services=None), server)
    assert (found.nodes, found.services, found.kubernetes) == (3, 3, (1, 34))
    assert (found.kernel, found.mode, found.cni, found.notes) == ((5, 10), "ipvs", "flannel", ())


@pytest.mark.parametrize(("config", "mode"), [("mode: ''\n", "iptables"), ("", "nftables")])
def test_a_mode_that_is_not_written(config: str, mode: str) -> None:
    server: Any = Server(config, ("other",))
    found = with_cluster(Situation(nodes=1, mode="nftables", cni="calico"), server)
    assert (found.mode, found.cni) == (mode, "calico")


def test_a_question_that_fails_is_a_note_and_the_others_are_answered() -> None:
    server: Any = Server("mode: [", ())
    found = with_cluster(Situation(nodes=9), server)
    assert found.kubernetes == (1, 34)
    assert found.mode is None
    assert found.notes == (
        "ConfigMap kube-proxy: its config.conf is not YAML",
        "daemonsets: cannot list it (403); grant it",
    )


def test_versions() -> None:
    assert dotted("v1.20.2+k3s1") == (1, 20)
    assert dotted("None") is None
