"""The role in docs/rbac/kube-proxy.yaml is enough for a migration and its way back, and no more.

The simulated API server grants exactly what the file says and refuses everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.fake.world import World, run

from underlay.cluster.objects import ACCESS_REVIEW, POD, Kind
from underlay.errors import ClusterError
from underlay.features.kube_proxy.deploy import migrate_to_ipvs, roll_back_from_ipvs

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs/rbac"
FILE = FOLDER / "kube-proxy.yaml"
DRAIN = FOLDER / "kube-proxy-drain.yaml"
#: Not used here: flannel, Cilium and Calico are not in the simulated cluster, and no time passes in
#: which a lease would be renewed.
ELSEWHERE = {
    ("felixconfigurations", "get"), ("installations", "get"),
    ("configmaps/kube-flannel-cfg", "get"), ("configmaps/cilium-config", "get"),
    ("leases/underlay-kube-proxy", "patch"),
}  # fmt: skip

Make = Callable[[int], World]
Right = tuple[str, str, str, str]


def granted(taken: str = "", file: Path = FILE) -> set[Right]:
    """(namespace or "", group, `resource` or `resource/name`, verb); `taken` leaves a verb out."""
    found = set()
    for role in yaml.safe_load_all(file.read_text()):
        for rule in role.get("rules", []):
            for group in rule.get("apiGroups", []):
                for resource in rule["resources"]:
                    names = [f"{resource}/{name}" for name in rule.get("resourceNames", [])]
                    for place in names or [resource]:
                        for verb in rule["verbs"]:
                            if f"{verb} {place}" != taken:
                                namespace = role["metadata"].get("namespace", "")
                                found.add((namespace, group, place, verb))
    return found


def authorise(world: World, rights: set[Right], used: set[Right]) -> None:
    """Refuse every call that no right allows, and note those that were used."""

    def check(verb: str, kind: Kind, name: str, namespace: str | None) -> None:
        group = kind.version.rpartition("/")[0]
        wanted = [
            (where, group, what, verb)
            for where in dict.fromkeys([namespace or "", ""])
            for what in dict.fromkeys([kind.plural, f"{kind.plural}/{name}"])
        ]
        found = rights & set(wanted)
        if not found:
            raise ClusterError(f"Kubernetes API: 403 {verb} {kind.plural} {name} in {namespace}")
        used.update(found)

    methods: dict[str, tuple[str, Callable[[tuple[Any, ...]], str]]] = {
        "get": ("get", lambda given: given[1]),
        "find": ("get", lambda given: given[1]),
        "merge": ("patch", lambda given: given[1]),
        "delete": ("delete", lambda given: given[1]),
        "list": ("list", lambda given: ""),
        "create": ("create", lambda given: ""),
    }
    at = {"get": 2, "find": 2, "merge": 3, "delete": 2, "list": 1, "create": 2}
    for method, (verb, name_of) in methods.items():
        real = getattr(world, method)

        def call(
            *given: Any, _m: str = method, _v: str = verb, _n: Any = name_of,
            _real: Any = real, **named: Any,
        ) -> Any:  # fmt: skip
            namespace = given[at[_m]] if len(given) > at[_m] else named.get("namespace")
            check(_v, given[0], _n(given), namespace)
            if given[0] is ACCESS_REVIEW:
                asked = given[1]["spec"]["resourceAttributes"]
                plural = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
                what = f"{plural}/{asked['name']}" if "name" in asked else ""
                allowed = any(
                    right[2] in (plural, what, f"{plural}/underlay-kube-proxy")
                    and right[3] == asked["verb"]
                    for right in rights
                )
                return {"status": {"allowed": allowed}}
            return _real(*given, **named)

        setattr(world, method, call)

    evict = world.request

    def request(method: str, path: str, *, body: dict[str, Any]) -> tuple[int, str]:
        check("create", replace(POD, plural="pods/eviction"), "", path.split("/")[4])
        return evict(method, path, body=body)

    world.request = request  # type: ignore[method-assign]


def test_the_role_is_enough_and_all_of_it_is_used(make_world: Make) -> None:
    world, used = make_world(2), set[Right]()
    authorise(world, granted(), used)
    assert run(world, migrate_to_ipvs, {}).failed == set()
    assert world.modes == {"ipvs"}
    assert run(world, roll_back_from_ipvs, {}).failed == set()
    assert world.modes == {"iptables"}
    left = {right[2:] for right in granted() - used}
    assert left == ELSEWHERE


@pytest.mark.parametrize(
    "taken",
    ["list nodes", "list endpoints", "list daemonsets", "delete pods",
     "patch configmaps/kube-proxy", "create leases", "get leases/underlay-kube-proxy",
     "create selfsubjectaccessreviews"],
)  # fmt: skip
def test_without_any_of_it_nothing_is_changed(make_world: Make, taken: str) -> None:
    world = make_world(2)
    authorise(world, granted(taken), set())
    try:
        failed = run(world, migrate_to_ipvs, {}).failed
    except ClusterError:
        failed = set(world.nodes)
    assert failed
    assert world.modes == {"iptables"}
    assert world.revision == 1, "the ConfigMap was not written"


def test_a_drain_needs_the_second_file_and_all_of_it(make_world: Make) -> None:
    world, used = make_world(2), set[Right]()
    world.nodes[next(iter(world.nodes))].apps = 2
    authorise(world, granted() | granted(file=DRAIN), used)
    assert run(world, migrate_to_ipvs, {"rollout": {"take_out": "drain"}}).failed == set()
    assert world.modes == {"ipvs"}
    assert granted(file=DRAIN) <= used


@pytest.mark.parametrize("taken", ["get nodes", "patch nodes", "create pods/eviction"])
def test_without_any_of_the_second_file_no_node_is_emptied(make_world: Make, taken: str) -> None:
    world = make_world(2)
    world.nodes[next(iter(world.nodes))].apps = 2
    authorise(world, granted() | granted(taken, file=DRAIN), set())
    try:
        failed = run(world, migrate_to_ipvs, {"rollout": {"take_out": "drain"}}).failed
    except ClusterError:
        failed = set(world.nodes)
    assert failed
    assert world.modes == {"iptables"}
    assert not any(node.gone or node.cordoned for node in world.nodes.values())
