"""A registry of images is a host and a path, because it stands in manifests."""

from __future__ import annotations

import pytest

from underlay.features.calico.settings import Calico
from underlay.features.flannel.settings import Flannel
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.settings.read import read_section

GOOD = (
    "ghcr.io/flannel-io", "registry.example:5000", "registry.example:5000/mirror/flannel-io/",
    "192.0.2.7/x", "[2001:db8::7]:5000/a_b/c--d", "localhost",
)  # fmt: skip
BAD = (
    "", " ", "x y", "x\n        securityContext: {privileged: true}", "x # ", "`id`", "x: y",
    "https://registry.example", "registry.example/UPPER", "a//b", "x\n", "../x",
)  # fmt: skip


@pytest.mark.parametrize("section", [Flannel, Calico])
@pytest.mark.parametrize("text", GOOD)
def test_a_registry_is_taken(section: type[Flannel], text: str) -> None:
    found, problems = read_section("n1", {"registry": text}, section)
    assert found is not None, problems
    assert vars(found)["registry"] == text


@pytest.mark.parametrize("section", [Flannel, Calico])
@pytest.mark.parametrize("text", BAD)
def test_what_would_end_it_in_a_manifest_is_refused(section: type[Flannel], text: str) -> None:
    found, problems = read_section("n1", {"registry": text}, section)
    assert found is None
    assert "not a registry" in str(problems[0])


@pytest.mark.parametrize("text", ["", " "])
def test_a_selector_of_nothing_is_refused(text: str) -> None:
    group = {"cluster_id": "244.0.0.1", "reflectors": ["n1", "n2"], "clients": text}
    found, problems = read_section("n1", {"groups": {"all": group}}, RouteReflectors)
    assert found is None
    assert (problems[0].what, problems[0].do) == ("is empty", "write all() for every node")
