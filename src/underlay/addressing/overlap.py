"""CIDR algebra: which named networks overlap, and how many nodes and pods a range holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import combinations

IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Named:
    """A network and what it is, for example `pod CIDR` or `route via eth1 on w2`."""

    name: str
    network: IPNetwork


@dataclass(frozen=True)
class Clash:
    """Two networks that share addresses."""

    one: Named
    other: Named

    def __str__(self) -> str:
        a, b = self.one, self.other
        return f"{a.name} {a.network} {relation(a.network, b.network)} {b.name} {b.network}"


def network(text: str) -> IPNetwork:
    """A network; host bits are dropped, so an address with its prefix is accepted too."""
    return ip_network(text, strict=False)


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two networks share an address; different families never do."""
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.overlaps(other)
    return False


def relation(one: IPNetwork, other: IPNetwork) -> str:
    """How two overlapping networks lie: `is the same as`, `lies inside`, `contains`."""
    if one == other:
        return "is the same as"
    return "lies inside" if one.prefixlen > other.prefixlen else "contains"


def clashes(networks: Iterable[Named]) -> Iterator[Clash]:
    """Every pair of differently named networks that overlap, in order."""
    for one, other in combinations(networks, 2):
        if one.name != other.name and overlap(one.network, other.network):
            yield Clash(one, other)


def clashes_with(ours: Iterable[Named], theirs: Iterable[Named]) -> Iterator[Clash]:
    """Every network of ours that overlaps one of theirs."""
    others = list(theirs)
    for one in ours:
        yield from (Clash(one, other) for other in others if overlap(one.network, other.network))


def blocks(range_: IPNetwork, prefix: int) -> int:
    """How many blocks of `prefix` bits a range holds; 0 when one does not fit."""
    return int(2 ** (prefix - range_.prefixlen)) if prefix >= range_.prefixlen else 0


def block_size(range_: IPNetwork, prefix: int) -> int:
    """Addresses of one block of `prefix` bits."""
    return int(2 ** (range_.max_prefixlen - prefix))
