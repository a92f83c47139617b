"""Flags and files follow the version of Kubernetes, from the oldest that a distribution has on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from underlay.lab.kubernetes import config
from underlay.lab.kubernetes.version import Version, parse

VERSIONS = [Version(1, minor, 0) for minor in (20, 24, 27, 31, 36)]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_the_container_runtime_is_named_exactly_once(version: Version) -> None:
    unit = config.kubelet_unit(version)
    file = yaml.safe_load(config.kubelet_config(version))
    assert ("--container-runtime-endpoint" in unit) != ("containerRuntimeEndpoint" in file)
    # the flag went away with dockershim
    assert ("--container-runtime=remote" in unit) == (version < Version(1, 24, 0))


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_kubeadm_reads_an_api_version_that_it_knows(version: Version) -> None:
    text = config.kubeadm_config(version, node="cp1", api_address="10.77.0.1", pki=Path("/pki"))
    used = {part["apiVersion"] for part in yaml.safe_load_all(text)}
    kubeadm = {name for name in used if name.startswith("kubeadm.")}
    known = {20: "v1beta2", 24: "v1beta3", 27: "v1beta3", 31: "v1beta4", 36: "v1beta4"}
    assert kubeadm == {f"kubeadm.k8s.io/{known[version.minor]}"}


@pytest.mark.parametrize(
    ("text", "version"),
    [("Kubernetes v1.20.2", "1.20.2"), ("v1.36.0-rc.1+k3s1", "1.36.0"), ("1.27.16", "1.27.16")],
)
def test_versions_are_read_from_what_programs_print(text: str, version: str) -> None:
    assert str(parse(text)) == version
