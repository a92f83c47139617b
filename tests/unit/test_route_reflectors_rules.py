"""What an inventory is refused for: one case per mistake, and all of them in one message."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from underlay.features.kube_proxy.settings import KubeProxy
from underlay.features.route_reflectors.rules import RULES
from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.settings import RawHost
from underlay.settings.network import Network
from underlay.settings.read import read_fleet

GOOD: dict[str, Any] = {
    "groups": {
        "a": {"cluster_id": "244.0.0.1", "reflectors": ["n1", "n2"], "clients": "rack == 'a'"},
        "b": {"cluster_id": "244.0.0.2", "reflectors": ["n3", "n4"], "clients": "rack == 'b'"},
    },
    "routers": {"tor": {"address": "203.0.113.1", "as_number": 65001, "groups": ["a"]}},
}
HOSTS = ("n1", "n2", "n3", "n4", "n5")

Change = Callable[[dict[str, Any]], object]


def problems(change: Change | None = None, network: dict[str, Any] | None = None) -> list[str]:
    section = copy.deepcopy(GOOD)
    if change is not None:
        change(section)
    data = {"route_reflectors": section, **({"network": network} if network else {})}
    raw = [RawHost(name, (), data, {}) for name in HOSTS]
    fleet, found = read_fleet(raw, [RouteReflectors, Network, KubeProxy])
    found += [problem for rule in RULES for problem in rule(fleet)]
    return list(dict.fromkeys(str(problem).partition(": ")[2] for problem in found))


def test_a_good_inventory_has_no_problem() -> None:
    assert problems() == []
    assert problems(network={"cni": "calico", "bgp": True}) == []
    assert problems(lambda s: s.update(mesh=True, groups={}, routers={})) == []


#: The mistake, and words of the one problem that it is.
MISTAKES: list[tuple[str, Change, tuple[str, ...]]] = [
    ("single", lambda s: s["groups"]["a"].update(reflectors=["n1"]),
     ("groups.a.reflectors", "a single reflector", "allow_single: True")),
    ("none", lambda s: s["groups"]["a"].update(reflectors=[]), ("no reflector",)),
    ("twice", lambda s: s["groups"]["a"].update(reflectors=["n1", "n1", "n2"]), ("named twice",)),
    ("id", lambda s: s["groups"]["a"].update(cluster_id="rr-1"),
     ("groups.a.cluster_id", "not an IPv4 address: 'rr-1'", "244.0.0.1")),
    ("zero id", lambda s: s["groups"]["a"].update(cluster_id="0.0.0.0"), ("no cluster id",)),  # noqa: S104
    ("v6 id", lambda s: s["groups"]["a"].update(cluster_id="2001:db8::1"), ("not an IPv4",)),
    ("one id", lambda s: s["groups"]["b"].update(cluster_id="244.0.0.1"),
     ("groups.b.cluster_id", "is the id of a too")),
    ("unknown", lambda s: s["groups"]["a"].update(reflectors=["n1", "n22"]),
     ("no host of that name", "did you mean 'n2'?")),
    ("two groups", lambda s: s["groups"]["b"].update(reflectors=["n3", "n1"]),
     ("is a reflector of a too",)),
    ("AS 0", lambda s: s.update(as_number=0), ("as_number", "no AS has the number 0")),
    ("AS large", lambda s: s.update(as_number=2**32), ("no AS has the number 4294967296",)),
    ("AS trans", lambda s: s.update(as_number=23456), ("no AS has the number",)),
    ("router's AS", lambda s: s["routers"]["tor"].update(as_number=-1), ("routers.tor.as_number",)),
    ("router's address", lambda s: s["routers"]["tor"].update(address="tor1"), ("not an address",)),
    ("router's group", lambda s: s["routers"]["tor"].update(groups=["c"]),
     ("no group of that name", "use one of a, b")),
    ("address twice", lambda s: s["routers"].update(
        other={"address": "203.0.113.1", "as_number": 65001}), ("is the address of tor too",)),
    ("selector", lambda s: s["groups"]["a"].update(clients="rack = a"), ("not a Calico selector",)),
    ("field", lambda s: s["groups"]["a"].update(clients="!has(routeReflectorClusterID)"),
     ("a field of Calico's node and not a label",)),
    ("group's name", lambda s: s["groups"].update({"A_b": s["groups"].pop("a")}),
     ("not a name: 'A_b'",)),
    ("label", lambda s: s.update(label="a b"), ("not the key of a label",)),
    ("nothing", lambda s: s.update(groups={}, routers={}), ("no group of reflectors",)),
    ("without", lambda s: s.update(without=["n1"]), ("a reflector has to prove itself",)),
    ("key", lambda s: s.update(meshed=True), ("did you mean 'mesh'?",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_each_mistake_is_one_problem_with_its_remedy(
    change: Change, words: tuple[str, ...]
) -> None:
    found = problems(change)
    # a section that pydantic refuses leaves its rules nothing to look at
    assert len(found) == 1 or all("group" in text for text in found), found
    for word in words:
        assert word in found[0]


def test_one_reflector_may_be_said() -> None:
    def single(section: dict[str, Any]) -> None:
        section["allow_single"] = True
        section["groups"]["a"]["reflectors"] = ["n1"]

    assert problems(single) == []


def test_another_cni_or_no_bgp() -> None:
    assert any("route reflectors need Calico (got" in p for p in problems(network={"cni": "none"}))
    found = problems(network={"cni": "calico", "bgp": False})
    assert any("route reflectors need Calico's BGP" in text for text in found)


def test_hosts_that_differ() -> None:
    raw = [
        RawHost("n1", (), {"route_reflectors": GOOD}, {}),
        *(RawHost(name, (), {"route_reflectors": {**GOOD, "as_number": 65001}}, {})
          for name in HOSTS[1:]),
    ]  # fmt: skip
    fleet, _ = read_fleet(raw, [RouteReflectors, Network, KubeProxy])
    found = [str(p) for rule in RULES for p in rule(fleet)]
    assert len(found) == 4
    assert "n2: route_reflectors: differs from what other hosts have" in found[0]
