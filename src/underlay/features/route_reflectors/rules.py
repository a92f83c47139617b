"""What must hold between hosts and groups, found before any host is connected. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from underlay.features.route_reflectors.settings import RouteReflectors
from underlay.settings import Fleet, Problem, shown
from underlay.settings.network import Network

#: Problems as (path below the section, what, got, do).
_Found = Iterator[tuple[str, str, object, str]]


def one_definition(fleet: Fleet) -> Iterator[Problem]:
    """One cluster has one set of reflectors, so hosts cannot want different ones."""
    first: RouteReflectors | None = None
    for host in fleet:
        own = host.section(RouteReflectors)
        first = first or own
        if own != first:
            yield Problem(
                host.name, RouteReflectors.KEY, "differs from what other hosts have", None,
                "write it once, in group_data/all.py",
            )  # fmt: skip


def each_group(fleet: Fleet) -> Iterator[Problem]:
    """Every rule on the section; what all hosts share is told once."""
    known = list(fleet.hosts)
    for host in fleet:
        if not host.names(RouteReflectors):
            continue
        section = host.section(RouteReflectors)
        rules = (_something, _redundant, _reflectors, _ids, _routers)
        found = [problem for rule in rules for problem in rule(section, known)]
        for path, what, got, do in found:
            yield Problem(
                host.name, f"{RouteReflectors.KEY}.{path}", what,
                shown(got) if got is not None else None, do,
            )  # fmt: skip


def bgp_runs(fleet: Fleet) -> Iterator[Problem]:
    """Reflectors are about BIRD, which does not run with another CNI or without BGP."""
    for host in fleet:
        if not host.section(RouteReflectors).wanted or not host.names(Network):
            continue
        network = host.section(Network)
        if network.cni != "calico":
            yield Problem(
                host.name, "network.cni", "route reflectors need Calico", shown(network.cni),
                "set it to calico, or take route_reflectors out",
            )  # fmt: skip
        elif not network.bgp:
            yield Problem(
                host.name, "network.bgp", "route reflectors need Calico's BGP", "False",
                "set it to True where BIRD runs, or take route_reflectors out",
            )  # fmt: skip


RULES = (one_definition, each_group, bgp_runs)


def _something(section: RouteReflectors, known: list[str]) -> _Found:
    if not section.groups and not section.mesh:
        yield "groups", "no group of reflectors", None, "add one, or say mesh: True"


def _redundant(section: RouteReflectors, known: list[str]) -> _Found:
    for name, group in section.groups.items():
        if not group.reflectors:
            yield f"groups.{name}.reflectors", "no reflector", None, "name at least two hosts"
        elif len(set(group.reflectors)) == 1 and not section.allow_single:
            yield (
                f"groups.{name}.reflectors",
                "a single reflector, whose end cuts every client off", group.reflectors[0],
                "name a second one, or say allow_single: True",
            )  # fmt: skip
        if len(set(group.reflectors)) != len(group.reflectors):
            yield (
                f"groups.{name}.reflectors", "a reflector is named twice", group.reflectors,
                "name each once",
            )  # fmt: skip


def _reflectors(section: RouteReflectors, known: list[str]) -> _Found:
    owner: dict[str, str] = {}
    for name, group in section.groups.items():
        for host in dict.fromkeys(group.reflectors):
            path = f"groups.{name}.reflectors"
            if host not in known:
                close = difflib.get_close_matches(host, known, n=1)
                do = f"did you mean {close[0]!r}?" if close else "correct the name"
                yield path, "no host of that name in the inventory", host, do
            if host in owner:
                do = f"a node has one cluster id; take it out of {name} or {owner[host]}"
                yield path, f"is a reflector of {owner[host]} too", host, do
            owner.setdefault(host, name)
            if host in section.without:
                do = "name only nodes that are no reflectors"
                yield "without", "a reflector has to prove itself", host, do


def _ids(section: RouteReflectors, known: list[str]) -> _Found:
    owner: dict[str, str] = {}
    for name, group in section.groups.items():
        if group.cluster_id in owner:
            yield (
                f"groups.{name}.cluster_id",
                f"is the id of {owner[group.cluster_id]} too: the two would drop each other's"
                " routes",
                group.cluster_id, "give each group an id of its own",
            )  # fmt: skip
        owner.setdefault(group.cluster_id, name)


def _routers(section: RouteReflectors, known: list[str]) -> _Found:
    owner: dict[str, str] = {}
    for name, router in section.routers.items():
        for group in router.groups:
            if group not in section.groups:
                there = ", ".join(section.groups) or "none"
                do = f"use one of {there}"
                yield f"routers.{name}.groups", "no group of that name", group, do
        if router.address in owner:
            yield (
                f"routers.{name}.address", f"is the address of {owner[router.address]} too",
                router.address, "give each router its own",
            )  # fmt: skip
        owner.setdefault(router.address, name)
