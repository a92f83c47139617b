"""Editing config.conf: what is not ours stays byte for byte."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.errors import ClusterError
from underlay.features.kube_proxy.config_text import read, with_values

KUBEADM = """apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
clientConnection:
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
# a comment of the operator
conntrack:
  maxPerCore: null
  min: null
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
kind: KubeProxyConfiguration
mode: ""
nodePortAddresses: null
"""


def test_only_the_lines_of_changed_keys_change() -> None:
    changed = with_values(KUBEADM, {("mode",): "ipvs", ("ipvs", "scheduler"): "lc"})
    before, after = KUBEADM.splitlines(), changed.splitlines()
    assert [new for old, new in zip(before, after, strict=True) if old != new] == [
        "  scheduler: lc",
        "mode: ipvs",
    ]


def test_the_same_values_change_nothing() -> None:
    assert with_values(KUBEADM, {("mode",): "", ("ipvs", "strictARP"): False}) == KUBEADM


def test_missing_keys_are_added_where_they_belong() -> None:
    text = "kind: KubeProxyConfiguration\nipvs:\n  scheduler: rr\nmode: iptables\n"
    changed = with_values(text, {("ipvs", "strictARP"): True, ("nftables", "syncPeriod"): "30s"})
    assert changed == (
        "kind: KubeProxyConfiguration\nipvs:\n  scheduler: rr\n  strictARP: true\n"
        "mode: iptables\nnftables:\n  syncPeriod: 30s\n"
    )


def test_lists_are_replaced_as_a_whole() -> None:
    text = "ipvs:\n  excludeCIDRs:\n  - 10.0.0.0/8\n  - 192.0.2.0/24\n  scheduler: rr\nmode: ipvs\n"
    changed = with_values(text, {("ipvs", "excludeCIDRs"): ["198.51.100.0/24"]})
    assert read(changed)["ipvs"] == {"excludeCIDRs": ["198.51.100.0/24"], "scheduler": "rr"}
    assert "  scheduler: rr\nmode: ipvs\n" in changed


@pytest.mark.parametrize("text", ["ipvs: null\nmode: ''\n", "ipvs: {}\nmode: ''\n"])
def test_an_empty_section_is_filled(text: str) -> None:
    assert read(with_values(text, {("ipvs", "scheduler"): "rr"})) == {
        "ipvs": {"scheduler": "rr"},
        "mode": "",
    }


def test_flow_style_is_refused_not_reformatted() -> None:
    with pytest.raises(ClusterError, match="block style"):
        with_values("{mode: '', ipvs: {scheduler: rr}}\n", {("mode",): "ipvs"})


def test_text_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ClusterError, match="not a mapping"):
        with_values("- a\n", {("mode",): "ipvs"})


# how fast a loaded machine is says nothing about the text
@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("abcdefg", min_size=1, max_size=4),
        st.one_of(
            st.integers(),
            st.booleans(),
            st.text("xyz: #'\"-", max_size=8),
            st.lists(st.integers(), max_size=3),
            st.dictionaries(st.text("hij", min_size=1, max_size=3), st.integers(), max_size=3),
        ),
    ),
    st.text("xyz: #'\"-", max_size=8),
)
def test_any_block_style_text_reads_back_with_the_change(
    found: dict[str, object], mode: str
) -> None:
    text = yaml.safe_dump(found, default_flow_style=False) if found else "kind: a\n"
    expected = {**(found or {"kind": "a"}), "mode": mode}
    assert read(with_values(text, {("mode",): mode})) == expected
