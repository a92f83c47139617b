"""The typed settings of all hosts of one inventory, in inventory order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from underlay.settings.section import Section

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class RawHost:
    """One host as the inventory gives it, before any check.

    data: top-level keys after pyinfra's merge; sources: the same keys to where each value came
    from, for example `group_data/workers.py`.
    """

    name: str
    groups: tuple[str, ...]
    data: Mapping[str, object]
    sources: Mapping[str, str]


@dataclass(frozen=True)
class HostSettings:
    """One host's sections; `given` holds the keys that the inventory really names.

    ssh_hostname: address or name at which SSH reaches it, by default its name in the inventory.
    """

    name: str
    groups: tuple[str, ...]
    sections: Mapping[type[Section], Section]
    given: frozenset[str]
    ssh_hostname: str = ""

    def section(self, kind: type[S]) -> S:
        """This host's section of that kind (its defaults when the inventory does not name it)."""
        found = self.sections[kind]
        if not isinstance(found, kind):
            raise TypeError(f"{self.name}: {kind.KEY} holds a {type(found).__name__}")
        return found

    def names(self, kind: type[Section]) -> bool:
        """Whether the inventory names this section for this host at all."""
        return kind.KEY in self.given


@dataclass(frozen=True)
class Fleet:
    """The hosts whose settings are valid, in inventory order; names: of all hosts."""

    hosts: Mapping[str, HostSettings]
    names: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[HostSettings]:
        return iter(self.hosts.values())

    def in_group(self, group: str) -> Iterable[HostSettings]:
        """The hosts of one group, in inventory order."""
        return (host for host in self if group in host.groups)
