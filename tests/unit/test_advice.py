"""Advice: what is chosen in which situation, why, and that what is pasted is valid."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from underlay.advice import knowledge
from underlay.advice.model import Advice, Need, Situation, Source, Verdict
from underlay.advice.report import advise, as_text, merged
from underlay.features import all_sections

SECTIONS: dict[str, Any] = {section.KEY: section for section in all_sections()}
NEW = {"kubernetes": (1, 34), "kernel": (6, 1)}
WORKERS = tuple(f"w{number}" for number in range(1, 10))


def _one(id_: str, **changes: Any) -> Advice:
    return next(each for each in advise(Situation(**{"nodes": 5, **changes})) if each.id == id_)


@pytest.mark.parametrize(
    ("changes", "choose", "verdict"),
    [
        (NEW, "nftables", Verdict.CHOOSE),
        ({**NEW, "mode": "nftables"}, "nftables", Verdict.KEEP),
        ({**NEW, "mode": "ipvs"}, "nftables", Verdict.CHANGE),
        ({"mode": "ipvs"}, "nftables", Verdict.CONSIDER),
        ({"kubernetes": (1, 32), "kernel": (6, 1), "services": 200}, "iptables", Verdict.CHOOSE),
        ({"kubernetes": (1, 32), "services": 5000}, "ipvs", Verdict.CHOOSE),
        ({"kubernetes": (1, 34), "kernel": (5, 10)}, "iptables", Verdict.CHOOSE),
        ({"kubernetes": (1, 36), "kernel": (5, 10), "services": 5000}, "ipvs", Verdict.CHOOSE),
        ({"kubernetes": (1, 40), "kernel": (5, 10), "services": 5000}, "iptables", Verdict.CHOOSE),
        ({**NEW, "needs": frozenset({Need.MULTI_CLUSTER})}, "iptables", Verdict.CHOOSE),
        ({**NEW, "needs": frozenset({Need.LOCALHOST_NODEPORT})}, "iptables", Verdict.CHOOSE),
    ],
)
def test_the_proxy_mode(changes: dict[str, Any], choose: str, verdict: Verdict) -> None:
    found = _one("proxy-mode", **changes)
    assert (found.choose, found.verdict) == (choose, verdict)
    assert found.settings["kube_proxy"]["mode"] == choose


def test_deprecated_ipvs_is_pasted_with_the_consent_it_needs() -> None:
    old = _one("proxy-mode", kubernetes=(1, 32), services=5000)
    new = _one("proxy-mode", kubernetes=(1, 36), kernel=(5, 10), services=5000)
    assert old.settings["kube_proxy"] == {"mode": "ipvs"}
    assert new.settings["kube_proxy"] == {"mode": "ipvs", "accept_deprecated": True}


def test_what_is_not_known_is_told_before_nftables() -> None:
    assert any("version is not known" in text for text in _one("proxy-mode").against)
    assert not any("not known" in text for text in _one("proxy-mode", **NEW).against)


@pytest.mark.parametrize(
    ("changes", "choose", "encapsulation", "verdict"),
    [
        ({}, "flannel", "vxlan", Verdict.CHOOSE),
        ({"nodes": 200}, "calico", "vxlan", Verdict.CHOOSE),
        ({"nodes": 200, "one_network": False}, "calico", "vxlan-cross-subnet", Verdict.CHOOSE),
        ({"needs": frozenset({Need.NETWORK_POLICY})}, "calico", "vxlan", Verdict.CHOOSE),
        ({"needs": frozenset({Need.THROUGHPUT}), "one_network": True}, "flannel", "none",
         Verdict.CHOOSE),
        ({"needs": frozenset({Need.THROUGHPUT})}, "flannel", "vxlan", Verdict.CHOOSE),
        ({"needs": frozenset({Need.ENCRYPTION})}, "flannel", "wireguard", Verdict.CHOOSE),
        ({"tunnel": True, "one_network": True, "needs": frozenset({Need.THROUGHPUT})}, "flannel",
         "vxlan", Verdict.CHOOSE),
        ({"cni": "calico", "encapsulation": "ipip"}, "calico", "ipip", Verdict.KEEP),
        ({"cni": "flannel", "nodes": 200}, "calico", "vxlan", Verdict.CHANGE),
        ({"cni": "flannel", "encapsulation": "none"}, "flannel", "none", Verdict.KEEP),
    ],
)  # fmt: skip
def test_the_cni(
    changes: dict[str, Any], choose: str, encapsulation: str, verdict: Verdict
) -> None:
    found = _one("cni", **changes)
    assert (found.choose, found.verdict) == (choose, verdict)
    assert found.settings["network"]["encapsulation"] == encapsulation


def test_packets_are_reckoned_through_all_layers() -> None:
    assert _one("mtu", mtu=1500).choose == "1450 bytes"
    assert _one("mtu", mtu=1500, tunnel=True).choose == "1390 bytes"
    assert _one("mtu", cni="calico", encapsulation="ipip", mtu=9000).choose == "8980 bytes"


@pytest.mark.parametrize(
    ("nodes", "reflectors", "verdict", "names"),
    [
        (100, (), Verdict.KEEP, ()),
        (101, (), Verdict.CHANGE, ("w1", "w2")),
        (101, ("w3",), Verdict.CHANGE, ("w3", "w1")),
        (101, ("w1", "w2"), Verdict.KEEP, ()),
        (501, ("w1", "w2"), Verdict.CHANGE, ("w1", "w2", "w3")),
    ],
)
def test_reflectors_by_size(
    nodes: int, reflectors: tuple[str, ...], verdict: Verdict, names: tuple[str, ...]
) -> None:
    found = _one("reflectors", nodes=nodes, cni="calico", bgp=True, encapsulation="none",
                 reflectors=reflectors, workers=WORKERS)  # fmt: skip
    assert found.verdict is verdict
    assert found.groups.get("route_reflectors", ()) == names


def test_there_is_no_word_on_reflectors_without_bgp() -> None:
    ids = {each.id for each in advise(Situation(nodes=300, cni="calico"))}
    assert "reflectors" not in ids
    assert "neighbours" not in ids
    assert "neighbours" in {each.id for each in advise(Situation(nodes=1000))}


def test_what_is_pasted_keeps_what_the_inventory_gives() -> None:
    given: dict[str, dict[str, Any]] = {
        "network": {"pod_cidr": "10.244.0.0/16", "cni": "none"}, "other": {"x": 1}
    }  # fmt: skip
    found = merged(advise(Situation(nodes=5)), given)
    assert found["network"]["pod_cidr"] == "10.244.0.0/16"
    assert found["network"]["cni"] == "flannel"
    assert "other" not in found


SITUATIONS = st.builds(
    Situation, nodes=st.integers(1, 5000), services=st.none() | st.integers(0, 30000),
    kubernetes=st.none() | st.tuples(st.just(1), st.integers(20, 45)),
    kernel=st.none() | st.tuples(st.integers(4, 7), st.integers(0, 19)),
    mode=st.sampled_from([None, "iptables", "ipvs", "nftables"]),
    cni=st.sampled_from(["none", "flannel", "calico"]), bgp=st.booleans(),
    encapsulation=st.sampled_from(["vxlan", "none", "ipip", "wireguard"]),
    mtu=st.sampled_from([1400, 1500, 9000]), tunnel=st.booleans(),
    one_network=st.none() | st.booleans(), workers=st.just(WORKERS),
    needs=st.frozensets(st.sampled_from(Need)),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@for_all(SITUATIONS)
def test_all_advice_has_reasons_sources_and_settings_that_are_accepted(found: Situation) -> None:
    advice = advise(found)
    known = {value for value in vars(knowledge).values() if isinstance(value, Source)}
    for each in advice:
        assert each.why
        assert set(each.sources) <= known
        for section, values in each.settings.items():
            SECTIONS[section].model_validate(dict(values))
    text = as_text(found, advice, "inventory.py", {}, 80)
    assert max(len(line) for line in text.splitlines()) <= 100
