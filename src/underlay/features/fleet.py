"""Settings inside a deploy: `load(host, Section)` and `load_all(host, Section)`.

The whole fleet is read and checked once per run, whichever host asks first; a problem of any host
stops the run before the first change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar
from weakref import WeakKeyDictionary

from pyinfra.api.connectors import get_all_connectors
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

from underlay.settings.fleet import Fleet, RawHost
from underlay.settings.keys import unknown_keys
from underlay.settings.placed import place
from underlay.settings.placed import problems as of_file
from underlay.settings.problem import Problem, by_file, refuse
from underlay.settings.read import read_fleet
from underlay.settings.roles import misspelt_groups
from underlay.settings.section import Section

S = TypeVar("S", bound=Section)

_fleets: WeakKeyDictionary[Inventory, Fleet] = WeakKeyDictionary()


def fleet_of(inventory: Inventory) -> Fleet:
    """The checked settings of every host of `inventory`; SettingsError lists every problem."""
    found = _fleets.get(inventory)
    if found is None:
        found, problems = checked(inventory)
        refuse(problems)
        _fleets[inventory] = found
    return found


def checked(inventory: Inventory) -> tuple[Fleet, list[Problem]]:
    """The settings of every valid host, and every problem of the inventory."""
    # a feature's deploy imports this module, and the list of features imports every feature
    from underlay.features import all_rules, all_sections

    sections = all_sections()
    names = [section.KEY for section in sections]
    hosts = raw_hosts(inventory)
    problems = [*of_file(inventory.data), *misspelt_groups(*_groups(inventory))]
    pyinfra = _connector_keys()
    for host in hosts:
        problems += unknown_keys(host.name, host.data, names, pyinfra)
    fleet, found = read_fleet(hosts, sections)
    problems += found
    # rules see the hosts that are valid by themselves, so that one run tells of both kinds
    problems += [p for rule in all_rules() for p in rule(fleet)]
    return fleet, by_file(problems, {host.name: host.sources for host in hosts})


def raw_hosts(inventory: Inventory) -> list[RawHost]:
    """What the inventory says of each host, after pyinfra's merge, in inventory order."""
    return [
        RawHost(
            name=host.name,
            groups=tuple(host.groups),
            data=host.data.dict(),  # type: ignore[no-untyped-call]
            sources=dict(_sources(inventory, host)),
        )
        for host in inventory
    ]


def load(host: Host, kind: type[S]) -> S:
    """One host's section, typed and checked together with the whole fleet."""
    return fleet_of(host.state.inventory).hosts[host.name].section(kind)


def load_all(host: Host, kind: type[S]) -> Mapping[str, S]:
    """The section of every host of the inventory that `host` is in, in inventory order."""
    fleet = fleet_of(host.state.inventory)
    return {found.name: found.section(kind) for found in fleet}


def _sources(inventory: Inventory, host: Host) -> Iterator[tuple[str, str]]:
    """Each key and where it came from, the weakest place first as pyinfra merges them."""
    for key in inventory.data:
        yield key, place(inventory.data, key) or "group_data/all.py"
    for group in host.groups:
        for key in inventory.group_data.get(group, {}):
            yield key, place(inventory.group_data[group], key) or f"group_data/{group}.py"
    for key in inventory.host_data.get(host.name, {}):
        yield key, "host"
    for key in inventory.override_data:
        yield key, "--data"


def _groups(inventory: Inventory) -> tuple[list[str], list[str]]:
    with_hosts = [name for name, hosts in inventory.groups.items() if hosts]
    return with_hosts, [name for name in inventory.group_data if name not in with_hosts]


def _connector_keys() -> frozenset[str]:
    """Data keys that pyinfra's connectors read, for example ssh_hostname."""
    return frozenset(
        key
        for connector in get_all_connectors().values()  # type: ignore[no-untyped-call]
        for key in getattr(getattr(connector, "data_cls", None), "__annotations__", {})
    )
