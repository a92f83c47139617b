"""Calico: what is rendered, against definitions; sums; what is refused; the plain manifest."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

import kubernetes_validate
import pytest
from tests import schemas
from tests.upstream import upstream

from underlay.cluster.objects import kind_of
from underlay.errors import ManifestError
from underlay.facts.cni import CniNode, Device
from underlay.features import all_sections
from underlay.features.address_plan import Plan, plan_of
from underlay.features.calico import canal, guard, manifests, operator, plain, plan
from underlay.features.calico.rules import files, problems
from underlay.features.calico.settings import Calico
from underlay.features.calico.upstream import FELIX, SUMS, TIMES, WORDS
from underlay.features.flannel.settings import Flannel
from underlay.settings import Fleet, RawHost
from underlay.settings.network import Network
from underlay.settings.read import read_fleet, read_section

NETWORK: dict[str, Any] = {
    "cni": "calico", "pod_cidr": "10.244.0.0/16", "mtu": 1500, "encapsulation": "vxlan",
}  # fmt: skip


def fleet(calico: dict[str, Any] | None = None, more: Any = None, **network: Any) -> Fleet:
    """Two hosts."""
    data = {"calico": calico or {}, "network": {**NETWORK, **network}, **(more or {})}
    hosts = [RawHost(name, ("all",), data, {}) for name in ("w1", "w2")]
    found, wrong = read_fleet(hosts, all_sections())
    assert wrong == []
    return found


def planned(calico: dict[str, Any] | None = None, **network: Any) -> tuple[Calico, Plan]:
    """Settings and plan of a fleet without problems."""
    found = fleet(calico, **network)
    assert [str(problem) for problem in problems(found)] == []
    plan_ = plan_of(found)
    assert plan_ is not None
    return next(iter(found)).section(Calico), plan_


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"encapsulation": "vxlan-cross-subnet"}),
    ({}, {"encapsulation": "ipip", "bgp": True}),
    ({}, {"encapsulation": "ipip-cross-subnet", "bgp": True}),
    ({}, {"encapsulation": "none", "bgp": True}),
    ({}, {"encapsulation": "wireguard"}),
    ({}, {"encapsulation": "wireguard", "pod_cidr_v6": "fd00:10:244::/56"}),
    ({}, {"pod_cidr_v6": "fd00:10:244::/56"}),
    ({"metrics": True, "dataplane": "nftables", "registry": "mirror.example"}, {}),
    ({"felix": {"iptablesRefreshInterval": "1m30s", "chainInsertMode": "Append", "vxlanVNI": 4097,
                "ipForwarding": "Enabled", "removeExternalRoutes": False}}, {}),
    (
        {"pools": {"a": {"cidr": "10.244.0.0/17", "block_size": 24}, "b": {
            "cidr": "10.244.128.0/17", "encapsulation": "none", "nat_outgoing": False,
            "node_selector": "rack == 'b'", "disable_bgp_export": True}}},
        {"node_cidr": "192.0.2.0/24"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("version", [plan.SERVED, plan.STORED])
@pytest.mark.parametrize(("calico", "network"), CASES)
def test_every_object_is_what_its_definition_says(
    calico: dict[str, Any], network: dict[str, Any], version: str
) -> None:
    settings, found = planned(calico, **network)
    rendered = [
        plan.installation(settings, found, ""),
        plan.api_server(),
        *filter(None, [plan.felix(settings, found.network, version)]),
        *(plan.ip_pool(pool, version) for pool in plan.pools(settings, found.network)),
    ]
    for known in (schemas.OWN, schemas.definitions()):
        for one in rendered:
            assert schemas.wrong(one, known) == [], one["kind"]


def test_a_definition_refuses_what_it_does_not_know() -> None:
    settings, found = planned()
    one = plan.installation(settings, found, "")
    one["spec"]["calicoNetwork"]["mtuu"] = 1
    for known in (schemas.OWN, schemas.definitions()):
        assert "mtuu" in schemas.wrong(one, known)[0]


def test_every_field_of_felix_exists_in_upstreams_definition() -> None:
    properties = schemas.definitions()["FelixConfiguration"]["properties"]
    kinds = {str: "string", int: "integer", bool: "boolean"}
    assert {name: properties[name]["type"] for name in FELIX} == {
        name: kinds[kind] for name, kind in FELIX.items()
    }


def test_words_and_times_of_felix_are_those_of_upstreams_definition() -> None:
    schema = schemas.definitions()["FelixConfiguration"]
    for name, words in WORDS.items():
        for word in words:
            found = {"kind": "FelixConfiguration", "spec": {name: word}}
            assert schemas.wrong(found, {"FelixConfiguration": schema}) == []
        found = {"kind": "FelixConfiguration", "spec": {name: "Nonsense"}}
        assert schemas.wrong(found, {"FelixConfiguration": schema})
    for name in TIMES:
        for text, right in (("1m30s", True), ("500ms", True), ("0.5s", False), ("9", False)):
            found = {"kind": "FelixConfiguration", "spec": {name: text}}
            assert (schemas.wrong(found, {"FelixConfiguration": schema}) == []) is right, name


@pytest.mark.parametrize("version", SUMS)
@pytest.mark.parametrize("name", ["calico.yaml", "calico-typha.yaml"])
def test_the_plain_manifest_is_what_kubernetes_says(version: str, name: str) -> None:
    settings, found = planned({"install": "manifest", "metrics": True}, pod_cidr_v6="fd00::/56")
    data = upstream(f"calico/{version}/{name}").read_bytes()
    theirs = manifests.objects(data, "mirror.example")
    ours = plain.objects(theirs, settings, found, proxy_mode="", nodes=9)
    for one in [*ours, plan.metrics(settings, plain.NAMESPACE)]:
        if one and one["kind"] != "CustomResourceDefinition":
            kubernetes_validate.validate(one, "1.34", strict=True)


@pytest.mark.parametrize(
    ("network", "mtu"),
    [
        ({}, 1450),
        ({"encapsulation": "ipip", "bgp": True}, 1480),
        ({"encapsulation": "none", "bgp": True}, 1500),
        ({"encapsulation": "wireguard"}, 1440),
        ({"mtu": 9001}, 8951),
    ],
)
def test_the_mtu_is_always_said(network: dict[str, Any], mtu: int) -> None:
    settings, found = planned(**network)
    assert plan.installation(settings, found, "")["spec"]["calicoNetwork"]["mtu"] == mtu


def test_the_address_is_never_the_first_one_found() -> None:
    overlay = {"transport": "wg0"}
    assert plan.autodetection(Network(**overlay)) == {"interface": "^wg0$"}
    assert plan.autodetection(Network(node_cidr="192.0.2.0/24")) == {"cidrs": ["192.0.2.0/24"]}
    assert plan.autodetection(Network()) == {"kubernetes": "NodeInternalIP"}


@pytest.mark.parametrize(("nodes", "replicas"), [(1, 1), (3, 3), (60, 3), (1000, 5), (9000, 20)])
def test_typha_by_size(nodes: int, replicas: int) -> None:
    assert plan.typha_replicas(nodes) == replicas


def test_typha_comes_with_size_or_when_it_is_asked_for() -> None:
    by_manifest = Calico(install="manifest")
    assert files(by_manifest, Network(), 49) == ("calico.yaml",)
    assert files(by_manifest, Network(), 50) == ("calico-typha.yaml",)
    assert files(by_manifest, Network(typha=True), 3) == ("calico-typha.yaml",)
    assert files(Calico(), Network(), 500)[0] == "operator-crds.yaml"


OVERLAY = {
    "overlay_cidr": "10.200.0.0/24", "hubs": ["w1"], "accept_single_hub": True, "port": 4789,
    "nodes": {name: {"address": f"10.200.0.{n}", "endpoint": f"192.0.2.{n}:4789"}
              for n, name in enumerate(("w1", "w2"), 1)},
}  # fmt: skip
V4 = "10.244.0.0/16"


@pytest.mark.parametrize(
    ("calico", "network", "sentence"),
    [
        ({}, {"cni": "flannel"}, "network.cni: Calico is to be installed (got 'flannel')"),
        ({}, {"pod_mtu": 1500}, "network.pod_mtu: larger than its path leaves"),
        ({}, {"encapsulation": "ipip"}, "network.bgp: ipip needs the routes that BGP brings"),
        ({}, {"encapsulation": "none"}, "network.bgp: none needs the routes"),
        ({"pools": {"a": {"cidr": "10.9.0.0/16"}}}, {}, "pools.a.cidr: outside of 10.244.0.0/16"),
        ({"pools": {"a": {"cidr": V4}, "b": {"cidr": "10.244.8.0/24"}}}, {}, "overlaps a ("),
        ({"pools": {"a": {"cidr": V4, "block_size": 33}}}, {}, "no block of 10.244.0.0/16 has"),
        ({"pools": {"a": {"cidr": "10.244.0.0/24", "block_size": 23}}}, {}, "use 24 to 32"),
        ({"pools": {"a": {"cidr": "fd00::/64", "block_size": 64}}}, {"pod_cidr_v6": "fd00::/56"},
         "no block of fd00::/64 has this size (got 64); use 116 to 128"),
        ({"pools": {"a": {"cidr": "fd00::/64", "block_size": 26}}}, {"pod_cidr_v6": "fd00::/56"},
         "use 116 to 128"),
        ({"pools": {"a": {"cidr": V4, "encapsulation": "vxlan"}}},
         {"encapsulation": "none", "bgp": True}, "takes more of a packet than none"),
        ({"version": "v3.30.3"}, {}, "calico.sums.operator-crds.yaml: no sha256 for v3.30.3"),
        ({"dataplane": "nftables", "version": "v3.31.7"}, {},
         "calico.dataplane: kube_proxy.mode is iptables"),
        ({}, {}, "calico.felix.vxlanPort: the overlay wg0 listens there (got 4789)"),
    ],
)  # fmt: skip
def test_bad_input(calico: dict[str, Any], network: dict[str, Any], sentence: str) -> None:
    more = {"wireguard": {"overlays": {"wg0": OVERLAY}}, "kube_proxy": {"mode": "iptables"}}
    assert sentence in "\n".join(map(str, problems(fleet(calico, more, **network))))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"version": "3.32"}, "not a release: '3.32'; write it as v3.32.1"),
        ({"sums": {"calico.yaml": "abc"}}, "not a sha256"),
        ({"felix": {"iptablesRefreshIntervall": "60s"}}, "did you mean 'iptablesRefreshInterval'?"),
        ({"felix": {"maxIpsetSize": "many"}}, "maxIpsetSize: not int: 'many'"),
        ({"felix": {"chainInsertMode": "Top"}}, "no such word: 'Top'; use one of Insert, Append"),
        ({"felix": {"netlinkTimeout": "0.5s"}}, "not a time: '0.5s'; write it as 90s"),
        ({"pools": {"A_": {"cidr": V4}}}, "not a name of an object"),
    ],
)
def test_bad_values(section: dict[str, Any], sentence: str) -> None:
    _, found = read_section("w1", section, Calico)
    assert sentence in "\n".join(f"{p.what}; {p.do}" for p in found)


# -- manifests


def test_a_folder_is_used_only_with_the_right_sum(tmp_path: Path) -> None:
    data = b"kind: A\n"
    (tmp_path / "v1.2.3").mkdir()
    (tmp_path / "v1.2.3/a.yaml").write_bytes(data)
    right = hashlib.sha256(data).hexdigest()
    options = {"version": "v1.2.3", "source": str(tmp_path)}
    assert manifests.text("a.yaml", wanted=right, **options) == data
    with pytest.raises(ManifestError, match="is not the file that was checked"):
        manifests.text("a.yaml", wanted="0" * 64, **options)
    with pytest.raises(ManifestError, match=r"no b\.yaml in"):
        manifests.text("b.yaml", wanted=right, **options)


def test_the_cache_is_used_only_with_the_right_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fetched: list[str] = []
    answers = {"good": b"kind: A\n", "bad": b"kind: B\n"}

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return answers[url.split("/")[-2]]

    monkeypatch.setattr(manifests, "_fetch", fetch)
    right = hashlib.sha256(answers["good"]).hexdigest()

    def get(place: str) -> bytes:
        return manifests.text(
            "a.yaml", version="v1.2.3", wanted=right, source=f"https://x.example/{place}"
        )

    with pytest.raises(ManifestError):
        get("bad")
    assert list(tmp_path.rglob("a.yaml")) == []
    assert get("good") == get("bad") == answers["good"]
    assert len(fetched) == 2
    next(tmp_path.rglob("a.yaml")).write_bytes(b"kind: C\n")
    assert get("good") == answers["good"]
    assert len(fetched) == 3


def test_images_of_upstream_move_and_others_stay() -> None:
    images = b"[{image: 'quay.io/calico/node:v1'}, {image: 'other.example/a:1'}]"
    data = b"spec: {c: " + images + b"}\nstatus: {x: 1}\n"
    found = manifests.objects(data, "mirror.example/x/")
    assert set(found[0]) == {"spec"}
    assert [one["image"] for one in found[0]["spec"]["c"]] == [
        "mirror.example/x/calico/node:v1", "other.example/a:1",
    ]  # fmt: skip


@pytest.mark.parametrize(("version", "name"), [(v, name) for v in SUMS for name in SUMS[v]])
def test_the_sums_are_those_of_upstreams_files(version: str, name: str) -> None:
    folder = str(upstream("calico"))
    assert manifests.text(name, version=version, wanted=SUMS[version][name], source=folder)


@pytest.mark.parametrize("version", SUMS)
def test_every_object_of_upstream_is_of_a_kind_that_can_be_applied(version: str) -> None:
    for name in SUMS[version]:
        for one in manifests.objects(upstream(f"calico/{version}/{name}").read_bytes(), None):
            assert kind_of(one["apiVersion"], one["kind"]).name == one["kind"]


# -- the plain manifest


@pytest.mark.parametrize("bgp", [True, False])
def test_the_plain_manifest_has_the_values_of_the_plan(bgp: bool) -> None:
    kind = "ipip" if bgp else "vxlan"
    settings, found = planned({"install": "manifest"}, encapsulation=kind, bgp=bgp)
    data = upstream("calico/v3.32.1/calico-typha.yaml").read_bytes()
    theirs = manifests.objects(data, None)
    ours = plain.objects(theirs, settings, found, proxy_mode="nftables", nodes=400)
    changed = [a for a, b in zip(ours, theirs, strict=True) if a != b]
    by_kind = {one["kind"]: one for one in changed}
    assert sorted(by_kind) == ["ConfigMap", "DaemonSet", "Deployment"]
    assert by_kind["Deployment"]["spec"]["replicas"] == 3
    config = by_kind["ConfigMap"]["data"]
    assert config["veth_mtu"] == ("1480" if bgp else "1450")
    assert config["calico_backend"] == ("bird" if bgp else "vxlan")
    container = by_kind["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
    values = {one["name"]: one.get("value") for one in container["env"]}
    assert len(values) == len(container["env"])
    assert values["CALICO_IPV4POOL_IPIP"] == ("Always" if bgp else "Never")
    assert values["CALICO_IPV4POOL_VXLAN"] == ("Never" if bgp else "Always")
    assert values["CALICO_IPV4POOL_CIDR"] == V4
    assert values["IP_AUTODETECTION_METHOD"] == "kubernetes-internal-ip"
    assert values["FELIX_NFTABLESMODE"] == "Auto"
    assert ("-bird-live" in container["livenessProbe"]["exec"]["command"]) is bgp


@pytest.mark.parametrize("version", SUMS)
@pytest.mark.parametrize("name", ["calico.yaml", "calico-typha.yaml"])
def test_pods_of_the_plain_manifest_get_both_families(version: str, name: str) -> None:
    settings, found = planned({"install": "manifest"}, pod_cidr_v6="fd00:10:244::/56")
    theirs = manifests.objects(upstream(f"calico/{version}/{name}").read_bytes(), None)
    ours = plain.objects(theirs, settings, found, proxy_mode="", nodes=3)
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in ours}
    conf = by_name["ConfigMap", "calico-config"]["data"]["cni_network_config"]
    # what calico-node puts in
    filled = re.sub(r"__\w+__", "1", conf)
    ipam = json.loads(filled)["plugins"][0]["ipam"]
    assert ipam == {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"}
    agent = by_name["DaemonSet", "calico-node"]["spec"]["template"]["spec"]["containers"][0]
    values = {one["name"]: one.get("value") for one in agent["env"]}
    assert values["CALICO_IPV6POOL_BLOCK_SIZE"] == "122"
    assert values["IP6_AUTODETECTION_METHOD"] == "kubernetes-internal-ip"
    assert values["FELIX_VXLANMTUV6"] == str(found.pod_mtu) == "1430"


def test_felix_encrypts_both_families() -> None:
    settings, found = planned(encapsulation="wireguard", pod_cidr_v6="fd00:10:244::/56")
    felix = plan.felix(settings, found.network, plan.SERVED)
    assert felix is not None
    assert felix["spec"] == {"wireguardEnabled": True, "wireguardEnabledV6": True}


def test_pools_are_compared_whatever_wrote_them() -> None:
    wanted = plan.pools(Calico(), Network(**NETWORK))
    spec = {"cidr": V4, "blockSize": 26, "ipipMode": "Never", "vxlanMode": "Always"}
    live = [{"metadata": {"name": "default-ipv4-ippool"}, "spec": spec}]
    assert list(guard.pool_refusals(wanted, live)) == []
    # the modes left out mean Never
    bare = [{"metadata": {"name": "default-ipv4-ippool"}, "spec": {"cidr": V4}}]
    assert "encapsulation is none" in "".join(guard.pool_refusals(wanted, bare))
    other = {"metadata": {"name": "x"}, "spec": {"cidr": "10.9.0.0/16"}}
    assert "is not in the plan" in "".join(guard.pool_refusals(wanted, [other]))
    off = {"metadata": {"name": "x"}, "spec": {"cidr": "10.9.0.0/16", "disabled": True}}
    assert list(guard.pool_refusals(wanted, [off])) == []


def _status(**states: tuple[bool, int]) -> dict[str, Any]:
    """A TigeraStatus: condition -> (is true, generation it was seen at)."""
    found = [
        {"type": kind, "status": str(on), "observedGeneration": seen, "reason": "R", "message": "m"}
        for kind, (on, seen) in states.items()
    ]
    return {"status": {"conditions": found}}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (None, "says nothing yet"),
        ({"status": {}}, "says nothing yet"),
        (_status(Available=(True, 3)), ""),
        (_status(Available=(True, 3), Progressing=(False, 3), Degraded=(False, 3)), ""),
        (_status(Available=(True, 2)), "it has seen 2 of 3 generations"),
        # the three are written one after the other
        (_status(Available=(True, 3), Degraded=(False, 2)), "it has seen 2 of 3 generations"),
        (_status(Available=(True, 3), Progressing=(True, 3)), "is Progressing: R: m"),
        (_status(Available=(True, 3), Degraded=(True, 3)), "is Degraded: R: m"),
        (_status(Available=(False, 3)), "is not Available"),
        ({"status": {"conditions": [{"type": "Available", "status": "True"}]}}, "seen 0 of 3"),
    ],
)
def test_what_the_operator_says(status: dict[str, Any] | None, sentence: str) -> None:
    found = operator.complaint("calico", status, 3)
    assert sentence in found
    assert bool(found) == bool(sentence)


@pytest.mark.parametrize("version", SUMS)
def test_a_status_of_the_operator_is_what_its_definition_says(version: str) -> None:
    text = upstream(f"calico/{version}/operator-crds.yaml").read_bytes()
    every = {one["metadata"]["name"]: one for one in manifests.objects(text, None)}
    of = every["tigerastatuses.operator.tigera.io"]["spec"]["versions"][0]["schema"]
    status = of["openAPIV3Schema"]["properties"]["status"]
    conditions = status["properties"]["conditions"]["items"]["properties"]
    said = _status(Available=(True, 3))["status"]["conditions"][0]
    assert set(said) <= set(conditions)


@pytest.mark.parametrize(
    ("version", "dataplane", "mode", "wanted"),
    [
        ("v3.32.1", None, "iptables", "Auto"),
        ("v3.32.1", None, "nftables", "Auto"),
        ("v3.32.1", "nftables", "iptables", "Auto"),
        ("v3.32.1", "iptables", "iptables", "Disabled"),
        ("v3.31.7", None, "iptables", "Disabled"),
        ("v3.31.7", None, "nftables", "Enabled"),
    ],
)
def test_felix_of_a_manifest_follows_kube_proxy_where_it_can(
    version: str, dataplane: Literal["iptables", "nftables"] | None, mode: str, wanted: str
) -> None:
    settings = Calico(install="manifest", version=version, dataplane=dataplane)
    assert plan.felix_nftables(settings, mode) == wanted


@pytest.mark.parametrize(
    ("now", "then", "follows", "refused"),
    [
        ("Iptables", "Nftables", True, False),
        ("Nftables", "Iptables", True, False),
        ("Iptables", "Nftables", False, True),
        ("BPF", "Nftables", True, True),
        ("Iptables", "Iptables", False, False),
    ],
)
def test_the_data_plane_changes_only_where_felix_follows(
    now: str, then: str, follows: bool, refused: bool
) -> None:
    live, wanted = (
        {"spec": {"calicoNetwork": {"bgp": "Disabled", "linuxDataplane": name}}}
        for name in (now, then)
    )
    assert bool(list(guard.installation_refusals(wanted, live, follows=follows))) is refused


# -- canal

CANAL: dict[str, Any] = {"cni": "flannel", "encapsulation": "vxlan"}


def canal_objects(
    version: str, own: dict[str, Any] | None = None, **network: Any
) -> dict[tuple[str, str], dict[str, Any]]:
    """Kind and name -> what is applied."""
    found = fleet({"install": "canal", "version": version}, {"flannel": own or {}}, **network)
    assert [str(problem) for problem in problems(found)] == []
    planned = plan_of(found)
    assert planned is not None
    theirs = manifests.objects(upstream(f"calico/{version}/canal.yaml").read_bytes(), None)
    ours = canal.objects(theirs, next(iter(found)).section(Flannel), planned)
    changed = [b for a, b in zip(theirs, ours, strict=True) if a != b]
    assert sorted(one["kind"] for one in changed) == ["ConfigMap", "DaemonSet"]
    return {(one["kind"], one["metadata"]["name"]): one for one in ours}


@pytest.mark.parametrize("version", SUMS)
def test_canal_has_the_values_of_the_plan(version: str) -> None:
    found = canal_objects(version, **CANAL)
    data = found["ConfigMap", "canal-config"]["data"]
    assert data["veth_mtu"] == "1450"
    assert json.loads(data["net-conf.json"]) == {
        "Network": V4, "Backend": {"Type": "vxlan", "VNI": 1, "Port": 8472, "MTU": 1500},
    }  # fmt: skip
    assert (data["canal_iface"], data["masquerade"]) == ("", "true")
    pod = found["DaemonSet", "canal"]["spec"]["template"]["spec"]
    felix, agent = pod["containers"]
    assert {"name": "FELIX_NFTABLESMODE", "value": "Disabled"} in felix["env"]
    assert agent["image"].endswith(f":{canal.FLANNEL}")
    assert "--ip-masq" in agent["command"]
    for one in found.values():
        if one["kind"] != "CustomResourceDefinition":
            kubernetes_validate.validate(one, "1.34", strict=True)


def test_what_flannel_is_told_reaches_canal_and_its_pods() -> None:
    before = canal_objects("v3.32.1", **CANAL)
    own = {"vni": 7, "port": 4789, "interface": "eth1", "ip_masq": False}
    found = canal_objects("v3.32.1", own, **{**CANAL, "encapsulation": "vxlan-cross-subnet"})
    data = found["ConfigMap", "canal-config"]["data"]
    backend = json.loads(data["net-conf.json"])["Backend"]
    assert backend == {
        "Type": "vxlan", "VNI": 7, "Port": 4789, "DirectRouting": True, "MTU": 1500,
    }  # fmt: skip
    assert (data["canal_iface"], data["masquerade"]) == ("eth1", "false")
    pods = [one["DaemonSet", "canal"]["spec"]["template"] for one in (before, found)]
    assert "--ip-masq" not in pods[1]["spec"]["containers"][1]["command"]
    key = "underlay.dev/configuration"
    assert len({pod["metadata"]["annotations"][key] for pod in pods}) == 2


@pytest.mark.parametrize(
    ("calico", "more", "network", "sentence"),
    [
        ({}, {}, {"cni": "calico"}, "network.cni: canal is to be installed (got 'calico')"),
        ({}, {}, {"encapsulation": "none"}, "canal is flannel's VXLAN (got 'none')"),
        ({}, {}, {"pod_cidr_v6": "fd00:10:244::/56"}, "canal has IPv4 only"),
        ({}, {}, {"bgp": True}, "canal runs no BGP"),
        ({}, {}, {"typha": True}, "canal's manifest has no Typha"),
        ({"pools": {"a": {"cidr": V4}}}, {}, {}, "calico.pools: canal's addresses are the blocks"),
        ({"dataplane": "nftables"}, {}, {}, "canal's flannel v0.24.4 writes iptables rules"),
        ({}, {"kube_proxy": {"mode": "nftables"}}, {}, "canal's flannel v0.24.4 writes iptables"),
        ({}, {"flannel": {"nftables": True}}, {}, "flannel.nftables: canal's manifest has no"),
        ({}, {"flannel": {"port": 4789}, "wireguard": {"overlays": {"wg0": OVERLAY}}}, {},
         "flannel.port: the overlay wg0 listens there"),
        ({"version": "v3.30.3"}, {}, {}, "calico.sums.canal.yaml: no sha256 for v3.30.3"),
    ],
)  # fmt: skip
def test_what_canal_cannot_do(
    calico: dict[str, Any], more: dict[str, Any], network: dict[str, Any], sentence: str
) -> None:
    found = fleet({"install": "canal", **calico}, more, **{**CANAL, **network})
    assert sentence in "\n".join(map(str, problems(found)))


def test_a_node_of_canal_has_devices_of_both_and_its_own_file() -> None:
    devices = {name: Device(name, 1450, 1000) for name in ("flannel.1", "cali1")}
    node = CniNode(devices, ("10-canal.conflist",), frozenset(), None)
    assert list(guard.node_refusals(node, Calico(install="canal"))) == []
    told = "".join(guard.node_refusals(node, Calico(install="manifest")))
    assert "10-canal.conflist is another CNI's" in told
    assert "flannel.1 of flannel is still there" in told


def test_canal_and_the_others_refuse_each_other() -> None:
    def workload(name: str, image: str = "") -> dict[str, Any]:
        containers = [{"image": image}]
        return {
            "metadata": {"name": name, "namespace": "kube-system"},
            "spec": {"template": {"spec": {"containers": containers}}},
        }

    by_canal = Calico(install="canal")
    assert list(guard.install_refusals(by_canal, [workload("canal", "x/node:v3.32.1")], None)) == []
    newer = guard.install_refusals(by_canal, [workload("canal", "x/node:v3.33.0")], None)
    assert "Calico does not go back" in "".join(newer)
    for name, whose in (("calico-node", "Calico"), ("kube-flannel-ds", "flannel")):
        told = "".join(guard.install_refusals(by_canal, [workload(name)], None))
        assert f"{whose} runs here" in told
    told = "".join(guard.install_refusals(Calico(), [workload("canal")], None))
    assert "Canal runs here" in told


@pytest.mark.parametrize("install", ["manifest", "canal"])
def test_a_manifest_leaves_what_an_operator_makes(install: Literal["manifest", "canal"]) -> None:
    settings = Calico(install=install)
    operators = {"metadata": {"name": "tigera-operator", "namespace": "tigera-operator"}}
    for workloads, installation in (([], {"metadata": {}}), ([operators], None)):
        told = "".join(guard.install_refusals(settings, workloads, installation))
        assert "would fight with a manifest; set calico.install to 'operator'" in told
        assert list(guard.install_refusals(Calico(), workloads, installation)) == []
    assert list(guard.install_refusals(settings, [], None)) == []


@pytest.mark.parametrize(
    ("now", "bgp", "refused"),
    [("bird", True, False), ("bird", False, True), ("vxlan", True, True), ("vxlan", False, False),
     ("", True, False)],
)  # fmt: skip
def test_bgp_of_a_manifest_is_not_switched_under_pods(now: str, bgp: bool, refused: bool) -> None:
    live = {"data": {"calico_backend": now}}
    told = "".join(guard.config_refusals(bgp, live))
    assert bool(told) is refused
    assert ("set network.bgp to" in told) is refused
    assert list(guard.config_refusals(bgp, None)) == []


def test_images_of_canals_flannel_move_too() -> None:
    moved = manifests.image("docker.io/flannel/flannel:v0.24.4", "mirror.example/x")
    assert moved == "mirror.example/x/flannel/flannel:v0.24.4"
