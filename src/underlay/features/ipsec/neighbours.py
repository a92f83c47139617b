"""What two links of one host must not share, or one would take what is the other's. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import permutations

from underlay.features.ipsec import plan
from underlay.features.ipsec.settings import End, IPsec, Link
from underlay.settings import Problem


@dataclass(frozen=True)
class _Mine:
    """One link of a host; place: where it stands in the inventory."""

    place: int
    name: str
    link: Link
    side: str
    gateway: bool

    @property
    def own(self) -> End:
        return self.link.ends[self.side]

    @property
    def far(self) -> End:
        return self.link.ends[plan.far(self.link, self.side)]

    @property
    def remote(self) -> tuple[IPv4Network, ...]:
        return plan.networks(self.link, plan.far(self.link, self.side))


#: Problems that one link has with another one, as (what, do).
_Found = Iterator[tuple[str, str]]


def between(host: str, section: IPsec) -> Iterator[Problem]:
    """Everything that any two links of this host must not share."""
    mine = []
    for place, (name, link) in enumerate(section.present.items()):
        side = plan.side_of(link, host) if len(link.ends) == 2 else None
        if side is not None:
            mine.append(_Mine(place, name, link, side, plan.is_gateway(link, host)))
    rules: tuple[Callable[[_Mine, _Mine], _Found], ...] = (
        _devices, _networks, _identities, _outer, _names,
    )  # fmt: skip
    for one, other in permutations(mine, 2):
        for rule in rules:
            for what, do in rule(one, other):
                yield Problem(host, f"{IPsec.KEY}.links.{one.name}", what, None, do)


def _devices(one: _Mine, other: _Mine) -> _Found:
    if other.place > one.place or not (one.gateway and other.gateway):
        return
    a, b = one.link, other.link
    same = a.device(one.name) == b.device(other.name) or a.number(one.name) == b.number(other.name)
    if a.mode == "route" == b.mode and same:
        yield (
            f"shares interface or if_id with {other.name}",
            "give each link its own interface and if_id",
        )  # fmt: skip


def _networks(one: _Mine, other: _Mine) -> _Found:
    if other.place > one.place:
        return
    for theirs in other.remote:
        for cidr in one.remote:
            if cidr.overlaps(theirs):
                yield (
                    f"{cidr} overlaps {theirs} of {other.name}",
                    "a network can lie behind one link only; narrow one",
                )  # fmt: skip


def _identities(one: _Mine, other: _Mine) -> _Found:
    """A daemon tells connections, and the keys of both, apart by identities."""
    pairs = [(link.own.shown_as, link.far.shown_as) for link in (one, other)]
    if other.place < one.place and one.gateway and other.gateway and pairs[0] == pairs[1]:
        yield (
            f"joins {' and '.join(pairs[0])}, as {other.name} does, so that the daemons could not"
            " tell the keys and children of the two apart",
            f"write its networks as more children of {other.name}, or give each link an identity"
            " of its own at one end",
        )


def _outer(one: _Mine, other: _Mine) -> _Found:
    """Packets of a link must not go into another one."""
    address = other.far.numeric
    if not (one.gateway and other.gateway) or address is None or other.far.behind_nat:
        return
    # by policy, a link takes only what comes from its own networks
    source = other.own.local_address or other.own.numeric
    own = plan.networks(one.link, one.side)
    cidr = _covering(address, one.remote)
    taken = one.link.mode == "route" or _covering(source, own) is not None
    if cidr is not None and taken and _covering(address, one.link.bypass) is None:
        yield (
            f"{cidr} takes in {address}, the far gateway of {other.name}, so that the packets of"
            f" {other.name} would go into {one.name}",
            f"narrow it, or add {address}/32 to bypass",
        )


def _names(one: _Mine, other: _Mine) -> _Found:
    """What a link bypasses is a connection of the daemon, too."""
    if other.gateway and other.link.bypass and one.name == f"{other.name}-bypass":
        yield f"is the name of what {other.name} bypasses", "choose another name"


def _covering(address: IPv4Address | None, networks: tuple[IPv4Network, ...]) -> IPv4Network | None:
    if address is None:
        return None
    return next((cidr for cidr in networks if address in cidr), None)
