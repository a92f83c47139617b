"""What advice is told of an inventory and of a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from underlay.advice.model import Advice, Need, Situation
from underlay.advice.report import advise, merged
from underlay.cluster.objects import CONFIG_MAP, DAEMON_SET, DEPLOYMENT, NODE, SERVICE, Kind
from underlay.errors import ClusterError
from underlay.features import all_sections
from underlay.features.advising import dotted, situation, with_cluster
from underlay.settings.fleet import RawHost
from underlay.settings.read import read_fleet


def _daemon(name: str) -> dict[str, Any]:
    image = "registry.example/k8s-dns-node-cache:1.23" if name == "node-local-dns" else name
    container = {"image": image, "args": ["-localip", "169.254.20.10,10.96.0.10"]}
    meta = {"name": name, "namespace": "kube-system"}
    return {"metadata": meta, "spec": {"template": {"spec": {"containers": [container]}}}}


class Server:
    """An API server that knows a few objects; a kind it does not know is forbidden."""

    def __init__(self, config: str = "", daemons: tuple[str, ...] = ()) -> None:
        self._config = config
        self._lists: dict[Kind, list[dict[str, Any]]] = {
            SERVICE: [{}, {}, {"spec": {"clusterIP": "10.96.0.10"}}],
            NODE: [
                {"metadata": {"name": name}, "status": {"nodeInfo": {"kernelVersion": release}}}
                for name, release in (("w1", "6.1.0-40-amd64"), ("w2", "5.10.0"), ("w3", ""))
            ],
            DAEMON_SET: [_daemon(name) for name in daemons],
            DEPLOYMENT: [_daemon("coredns")],
        }

    def version(self) -> str:
        return "v1.34.2"

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        if not self._lists[kind]:
            raise ClusterError(f"{kind.plural}: cannot list it (403); grant it\nmore")
        return self._lists[kind]

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        if (kind, name, namespace) != (CONFIG_MAP, "kube-proxy", "kube-system"):
            return None
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


OVERLAY: dict[str, Any] = {
    "overlay_cidr": "10.8.0.0/24", "hubs": ["a"], "underlay_mtu": 1400,
    "nodes": {"a": {"address": "10.8.0.1", "endpoint": "192.0.2.1:51820"},
              "b": {"address": "10.8.0.2", "behind_nat": True}},
}  # fmt: skip


def _told(found: Situation, id_: str) -> Advice:
    return next(each for each in advise(found) if each.id == id_)


def test_an_overlay_of_every_host_is_what_the_cni_lies_on() -> None:
    data = {"wireguard": {"overlays": {"wg0": OVERLAY}}, "network": {}}
    found = _situation(("a", "x", data), ("b", "x", data), needs=(Need.ENCRYPTION,))
    assert (found.tunnel, found.transport) == (True, "wg0")
    network = _told(found, "cni").settings["network"]
    assert (network["encapsulation"], network["transport"]) == ("vxlan", "wg0")
    # 1400 less WireGuard over IPv6 (80) and VXLAN (50)
    assert _told(found, "mtu").choose == "1270 bytes"
    pasted = {**data, "network": merged(advise(found), {})["network"]}
    assert _situation(("a", "x", pasted), ("b", "x", pasted)).transport == "wg0"
    partly = _situation(("a", "x", data), ("b", "x", data), ("c", "x", data))
    assert (partly.tunnel, partly.transport) == (False, None)


def test_a_link_between_the_sites_is_reckoned_with_and_pasted() -> None:
    ends = {
        "e": {"gateway": "a", "address": "198.51.100.1", "networks": ["10.1.0.0/16"]},
        "w": {"gateway": "b", "address": "203.0.113.1", "networks": ["10.2.0.0/16"]},
    }
    data = {"ipsec": {"links": {"site": {"ends": ends, "psk": {"env": "PSK"}}}}, "network": {}}
    found = _situation(("a", "x", data), ("b", "x", data))
    advice = _told(found, "mtu")
    assert "esp" in advice.why[0]
    assert set(advice.settings["network"]["esp"]) == {"cipher", "nat_t"}
    pasted = {**data, "network": merged(advise(found), {})["network"]}
    again = _situation(("a", "x", pasted), ("b", "x", pasted))
    assert again.esp is None
    assert _told(again, "mtu").choose == advice.choose


def test_reflectors_are_those_of_the_section_and_are_pasted_into_it() -> None:
    groups = {"rack": {"cluster_id": "244.0.0.9", "reflectors": ["a"], "clients": "has(x)"}}
    data = {"route_reflectors": {"groups": groups, "allow_single": True}}
    found = _situation(("a", "x", data), ("b", "workers", data))
    assert found.reflectors == ("a",)
    many = replace(found, nodes=200, cni="calico", bgp=True, encapsulation="none")
    pasted = _told(many, "reflectors").settings["route_reflectors"]["groups"]
    assert pasted == {
        "rack": {"cluster_id": "244.0.0.9", "clients": "has(x)", "reflectors": ["a", "b"]}
    }


def test_settings_that_would_not_go_with_the_mode_are_brought_in_line() -> None:
    data = {"calico": {"dataplane": "iptables"}, "flannel": {"nftables": True}}
    found = replace(_situation(("a", "x", data)), kubernetes=(1, 34), kernel=(6, 1))
    assert _told(found, "proxy-mode").settings["calico"] == {"dataplane": "nftables"}
    old = replace(found, kernel=(5, 10))
    assert _told(old, "proxy-mode").settings["flannel"] == {"nftables": False}


def test_profiles_that_are_there_are_kept() -> None:
    found = _situation(("a", "x", {"sysctl": {"profiles": ["vxlan-throughput"]}}))
    advice = _told(replace(found, nodes=2000), "neighbours")
    assert advice.settings["sysctl"]["profiles"] == ["vxlan-throughput", "large-cluster"]
    done = replace(found, nodes=2000, profiles=("large-cluster",))
    assert "neighbours" not in {each.id for each in advise(done)}


def test_what_is_too_old_is_told_with_what_to_upgrade() -> None:
    server: Any = Server("mode: ipvs\n", ("node-local-dns",))
    found = with_cluster(Situation(nodes=1), server)
    assert found.old_kernels == ("w2",)
    advice = _told(found, "proxy-mode")
    assert advice.choose == "iptables"
    assert advice.against[0] == (
        "for nftables, upgrade the kernel of w2 to 5.13 or newer (Debian 12, Ubuntu 22.04, RHEL 9);"
        " then ask again"
    )
    newer = _told(replace(found, kernel=(6, 1)), "proxy-mode")
    assert newer.choose == "nftables"
    assert any("NodeLocal DNSCache listens on the Service address" in t for t in newer.against)
    assert not any("NodeLocal" in text for text in advice.against)
    old = replace(found, kernel=(5, 4), nodes=80)
    assert "Calico needs kernel 5.10, the oldest node has 5.4: upgrade it first" in (
        _told(old, "cni").against
    )
