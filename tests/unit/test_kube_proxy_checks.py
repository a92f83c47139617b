"""What stops a migration before it begins: on the node, in the cluster, in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from pydantic import ValidationError
from tests.fake.cluster import Cluster

from underlay.cluster import Api
from underlay.errors import ClusterError
from underlay.facts.kernel import ModuleState
from underlay.facts.kube_proxy import NodeProxy, VirtualServer
from underlay.features.kube_proxy import finding
from underlay.features.kube_proxy.calico import Calico
from underlay.features.kube_proxy.calico import read as read_calico
from underlay.features.kube_proxy.checks import Question, findings
from underlay.features.kube_proxy.config_text import with_values
from underlay.features.kube_proxy.configuration import (
    metrics_address,
    owns_conntrack_max,
    swallowed,
    unsupported,
    values,
)
from underlay.features.kube_proxy.neighbours import Neighbours, kubelet_dns
from underlay.features.kube_proxy.neighbours import findings as of_neighbours
from underlay.features.kube_proxy.settings import Conntrack, Iptables, Ipvs, KubeProxy, Nftables

LOADED = {name: ModuleState.LOADED for name in ("ip_vs", "ip_vs_rr", "nf_conntrack", "nf_tables")}
NODE = NodeProxy(
    mode="iptables", servers=(), device=False, addresses=frozenset(), sets=(), modules=LOADED,
    local=frozenset({"10.77.0.11"}), entries=(), policies={"INPUT": "ACCEPT", "FORWARD": "ACCEPT"},
    tools=frozenset({"ipvsadm"}), image_tools=frozenset({"ipset", "nft"}), kernel="6.1.0-1-amd64",
)  # fmt: skip
FOREIGN = VirtualServer("TCP", "203.0.113.7", 6443, "wlc")


def ask(mode: str = "ipvs", minor: int = 30, **changes: Any) -> list[finding.Finding]:
    settings = changes.pop("settings", KubeProxy())
    node = replace(NODE, **changes.pop("node", {}))
    fields: dict[str, Any] = {
        "settings": settings, "mode": mode, "minor": minor, "node": node, "known": True,
        "config": with_values("mode: ''\n", values(settings, mode)), "foreign": (),
        "cluster_ips": ("10.96.0.1",), "owns_max": False, **changes,
    }  # fmt: skip
    return findings(Question(**fields))


def refused(found: list[finding.Finding], *accepted: str) -> list[str]:
    return finding.refusals(found, accepted)


def test_a_good_node_is_refused_by_nothing() -> None:
    for mode in ("iptables", "ipvs"):
        assert refused(ask(mode)) == []
    assert refused(ask("nftables", 33)) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (ask(minor=35), "deprecated in Kubernetes 1.35"),
        (ask(minor=40, settings=KubeProxy(accept_deprecated=True)), "does not start kube-proxy"),
        (ask("nftables", 30), "has no usable nftables mode"),
        (ask("nftables", 33, node={"kernel": "5.10.0-9"}), "older than 5.13"),
        (ask(known=False), "no such node"),
        (ask(node={"mode": ""}), "does not tell its mode"),
        (ask(node={"modules": {}}), "ip_vs is neither built in nor loadable"),
        (ask(settings=KubeProxy(ipvs=Ipvs(scheduler="wlc"))), "ip_vs_wlc is neither built in"),
        (ask(node={"image_tools": frozenset({"nft"})}), "image has no ipset"),
        (ask("nftables", 33, node={"image_tools": frozenset({"ipset"})}), "image has no nft"),
        (ask(node={"tools": frozenset()}), "ipvsadm is missing"),
        (ask("iptables", node={"mode": "ipvs", "tools": frozenset()}), "ipvsadm is missing"),
        (ask(foreign=(FOREIGN,)), "which it would delete: TCP 203.0.113.7:6443"),
        (ask("nftables", 33, foreign=(FOREIGN,)), "so it goes too"),
        (ask(node={"policies": {"INPUT": "DROP"}}), "drops by default in INPUT"),
        (ask(settings=KubeProxy(ipvs=Ipvs(exclude_cidrs=("10.96.0.0/12",)))), "holds the Service"),
        (
            ask("iptables", 25, settings=KubeProxy(iptables=Iptables(localhost_node_ports=False))),
            "does not know iptables.localhostNodePorts, which came with 1.26",
        ),
    ],
)  # fmt: skip
def test_each_refusal_by_itself(found: list[finding.Finding], words: str) -> None:
    sentences = refused(found)
    assert sentences
    assert words in sentences[0]
    assert "; " in sentences[0], "a sentence says what to do"


def test_every_refusal_is_named_at_once() -> None:
    found = ask(
        minor=35, node={"modules": {}, "tools": frozenset()}, known=False
    )  # fmt: skip
    assert [entry.id for entry in found if entry.refuses] == [
        "node", "version", "modules", "modules", "modules", "ipvsadm",
    ]  # fmt: skip


def test_a_foreign_server_in_an_excluded_network_is_no_matter() -> None:
    settings = KubeProxy(ipvs=Ipvs(exclude_cidrs=("203.0.113.0/24",)))
    assert refused(ask(settings=settings, foreign=(FOREIGN,))) == []
    assert refused(ask("iptables", foreign=(FOREIGN,))) == []


def test_what_is_accepted_is_told_and_stops_nothing() -> None:
    found = ask(node={"policies": {"INPUT": "DROP"}})
    assert refused(found, "default-drop") == []
    assert any("accepted (default-drop)" in text for text in finding.notes(found, ["default-drop"]))


def test_differences_are_told_before() -> None:
    assert any("no NodePort answers on 127.0.0.1" in f.sentence for f in ask())
    told = [f.id for f in ask("nftables", 33)]
    assert told == ["localhost-node-port", "restart-gap", "node-port-addresses"]


@pytest.mark.parametrize(
    ("was", "mode", "gap"),
    [
        ("iptables", "ipvs", False), ("ipvs", "iptables", False), ("iptables", "nftables", True),
        ("ipvs", "nftables", True), ("nftables", "iptables", True), ("nftables", "ipvs", True),
    ],
)  # fmt: skip
def test_that_kube_proxy_itself_cleans_first_is_told(was: str, mode: str, gap: bool) -> None:
    told = {f.id: f for f in ask(mode, 33, node={"mode": was})}
    assert ("restart-gap" in told) is gap
    if gap:
        assert not told["restart-gap"].refuses
        assert f"mode {was} as it starts in mode {mode}" in told["restart-gap"].sentence


def test_sockets_of_the_node_are_told_when_ipvs_is_left() -> None:
    told = ask("iptables", node={"mode": "ipvs"})
    assert [f.id for f in told] == ["node-sockets"]
    assert not told[0].refuses


def test_two_owners_of_the_table_are_told() -> None:
    assert [f.id for f in ask("iptables", owns_max=True)] == ["conntrack-owner"]
    settings = KubeProxy(conntrack=Conntrack(max_per_core=0))
    assert ask("iptables", owns_max=True, settings=settings) == []


def neighbour(mode: str, config: str = "mode: x\n", **fields: Any) -> dict[str, bool]:
    found = of_neighbours(
        Neighbours(**fields), mode=mode, config=config, cluster_ips=["10.96.0.10"]
    )
    return {entry.id: entry.refuses for entry in found}


@pytest.mark.parametrize(
    ("mode", "fields", "wanted"),
    [
        ("ipvs", {}, {}),
        ("ipvs", {"dns_cache": ("169.254.20.10", "10.96.0.10")}, {"nodelocal-dns": True}),
        ("nftables", {"dns_cache": ("169.254.20.10", "10.96.0.10")}, {"nodelocal-dns": True}),
        ("iptables", {"dns_cache": ("169.254.20.10", "10.96.0.10")}, {}),
        ("ipvs", {"dns_cache": ("169.254.20.10",)}, {}),
        ("nftables", {"calico": Calico()}, {"calico-nftables": True, "calico-restart": False}),
        ("nftables", {"calico": Calico(felix="Auto")}, {"calico-restart": False}),
        # v3.32 follows kube-proxy unless somebody says otherwise
        ("nftables", {"calico": Calico(version=(3, 32, 1))}, {"calico-restart": False}),
        (
            "nftables",
            {"calico": Calico(version=(3, 32, 1), felix="Disabled", dataplane="Iptables")},
            {"calico-nftables": True, "calico-restart": False},
        ),
        # the variable of the pod wins
        (
            "nftables",
            {"calico": Calico(variable="Disabled", felix="Auto")},
            {"calico-nftables": True, "calico-restart": False},
        ),
        (
            "iptables",
            {"calico": Calico(felix="Enabled", dataplane="Nftables")},
            {"calico-nftables": True, "calico-dataplane": True, "calico-restart": False},
        ),
        (
            "iptables",
            {"calico": Calico(version=(3, 32, 1), felix="Auto", dataplane="Nftables")},
            {"calico-restart": False},
        ),
        ("ipvs", {"images": ("quay.io/metallb/speaker:v0.14",)}, {"strict-arp": True}),
        ("ipvs", {"images": ("ghcr.io/kube-vip/kube-vip:v1",)}, {"strict-arp": True}),
        ("nftables", {"images": ("quay.io/metallb/speaker:v0.14",)}, {}),
        ("nftables", {"images": ("quay.io/submariner/gateway",)}, {"submariner": True}),
        ("iptables", {"images": ("quay.io/submariner/gateway",)}, {}),
        ("iptables", {"replaced": True}, {"cilium": True}),
        ("nftables", {"flannel": {"EnableNFTables": False}}, {"flannel-nftables": False}),
        ("nftables", {"flannel": {"EnableNFTables": True}}, {}),
    ],
)
def test_each_neighbour(mode: str, fields: Mapping[str, Any], wanted: dict[str, bool]) -> None:
    assert neighbour(mode, **fields) == wanted


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Calico(version=(3, 32, 1), felix="Disabled", dataplane="Iptables"),
         "set linuxDataplane: Nftables in Installation default first"),
        (Calico(version=(3, 31, 7), felix="Disabled", dataplane="Iptables"), "upgrade Calico"),
        (Calico(variable="Disabled"), "FELIX_NFTABLESMODE of DaemonSet calico-node wins"),
        (Calico(workload="canal", variable="Disabled"), "canal's flannel writes iptables rules"),
        (Calico(), "set nftablesMode: Auto in FelixConfiguration default first"),
    ],
)  # fmt: skip
def test_the_place_that_decides_felix_is_named(found: Calico, sentence: str) -> None:
    neighbours = Neighbours(calico=found)
    told = of_neighbours(neighbours, mode="nftables", config="mode: x\n", cluster_ips=[])
    assert sentence in next(one.sentence for one in told if one.id == "calico-nftables")


def test_felix_is_read_from_its_pod_and_from_the_objects() -> None:
    cluster = Cluster()
    spec = {"containers": [
        {"name": "calico-node", "image": "mirror.example/calico/node:v3.32.1",
         "env": [{"name": "FELIX_NFTABLESMODE", "value": "Auto"}, {"name": "A", "valueFrom": {}}]},
    ]}  # fmt: skip
    node = {"metadata": {"name": "calico-node"}, "spec": {"template": {"spec": spec}}}
    assert read_calico(cast(Api, cluster), None) is None
    assert read_calico(cast(Api, cluster), node) == Calico(version=(3, 32, 1), variable="Auto")
    installation = {"calicoNetwork": {"linuxDataplane": "Nftables"}}
    for kind, version, inner in (
        ("Installation", "operator.tigera.io/v1", installation),
        ("FelixConfiguration", "crd.projectcalico.org/v1", {"nftablesMode": "Auto"}),
    ):
        found = {"apiVersion": version, "kind": kind, "metadata": {"name": "default"}}
        cluster.put({**found, "spec": inner})
    told = read_calico(cast(Api, cluster), node)
    assert told is not None
    assert (told.dataplane, told.felix, told.mode) == ("Nftables", "Auto", "auto")


def test_a_kubelet_that_passes_the_dns_cache_by_is_told() -> None:
    cached = Neighbours(dns_cache=("169.254.20.10",))
    assert [f.id for f in kubelet_dns(cached, "10.96.0.10")] == ["kubelet-dns"]
    assert kubelet_dns(cached, "169.254.20.10") == []
    assert kubelet_dns(Neighbours(), "10.96.0.10") == []


def test_strict_arp_satisfies_metallb() -> None:
    config = "mode: ipvs\nipvs:\n  strictARP: true\n"
    assert neighbour("ipvs", config, images=("metallb/speaker",)) == {}


def test_only_given_keys_are_written_and_the_mode_always() -> None:
    settings = KubeProxy(
        ipvs=Ipvs(strict_arp=True, tcp_fin_timeout="30s", exclude_cidrs=("192.0.2.0/24",)),
        conntrack=Conntrack(max_per_core=0, tcp_be_liberal=True, min=7),
        node_port_addresses=("primary",),
    )
    assert values(settings, "ipvs") == {
        ("mode",): "ipvs",
        ("ipvs", "scheduler"): "rr",
        ("ipvs", "strictARP"): True,
        ("ipvs", "tcpFinTimeout"): "30s",
        ("ipvs", "excludeCIDRs"): ["192.0.2.0/24"],
        ("conntrack", "maxPerCore"): 0,
        ("conntrack", "tcpBeLiberal"): True,
        ("conntrack", "min"): 7,
        ("nodePortAddresses",): ["primary"],
    }
    assert values(KubeProxy(), "iptables") == {("mode",): "iptables"}
    nft = KubeProxy(nftables=Nftables(masquerade_bit=15, min_sync_period="2s"))
    assert values(nft, "nftables") == {
        ("mode",): "nftables",
        ("nftables", "masqueradeBit"): 15,
        ("nftables", "minSyncPeriod"): "2s",
    }


def test_keys_by_release() -> None:
    wanted = values(KubeProxy(conntrack=Conntrack(udp_timeout="5s")), "iptables")
    assert len(unsupported(wanted, 28)) == 1
    assert unsupported(wanted, 29) == []


def test_an_exclusion_that_holds_services() -> None:
    assert swallowed(["10.0.0.0/8"], ["10.96.0.1"])
    assert not swallowed(["192.0.2.0/24"], ["10.96.0.1", "fd00::1"])


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ("mode: x\n", "127.0.0.1:10249"),
        ("metricsBindAddress: ''\n", "127.0.0.1:10249"),
        ("metricsBindAddress: 0.0.0.0:10300\n", "127.0.0.1:10300"),
        ("metricsBindAddress: '[::]:10249'\n", "127.0.0.1:10249"),
        ("metricsBindAddress: 192.0.2.1:10249\n", "192.0.2.1:10249"),
    ],
)
def test_where_the_mode_is_asked(config: str, wanted: str) -> None:
    assert metrics_address(config) == wanted


@pytest.mark.parametrize("wrong", ["x", "1.2.3.4';$(id):10249", "1.2.3.4:99999", "1.2.3.4:$(id)"])
def test_a_metrics_address_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ClusterError, match="no address and port"):
        metrics_address(f"metricsBindAddress: {wrong!r}\n")


def test_zero_per_core_gives_the_table_to_the_node() -> None:
    assert owns_conntrack_max("mode: x\n")
    assert owns_conntrack_max("conntrack:\n  maxPerCore: null\n")
    assert not owns_conntrack_max("conntrack:\n  maxPerCore: 0\n")


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "ipvs2"},
        {"ipvs": {"scheduler": "round"}},
        {"ipvs": {"tcp_timeout": "900"}},
        {"ipvs": {"tcp_timeout": ""}},
        {"ipvs": {"exclude_cidrs": ["10.0.0.1/8"]}},
        {"node_port_addresses": ["primary", "10.0.0.0/8"]},
        {"accept": ["everything"]},
        {"conntrack": {"max_per_core": -1}},
    ],
)
def test_bad_input_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KubeProxy.model_validate(wrong)


@pytest.mark.parametrize("good", ["30s", "1m30s", "2h", "250ms", "0", "0s", "1.5s", "1h0m0s"])
def test_durations_of_go(good: str) -> None:
    assert KubeProxy.model_validate({"ipvs": {"tcp_timeout": good}}).ipvs.tcp_timeout == good
