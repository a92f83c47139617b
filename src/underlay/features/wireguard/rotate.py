"""Replace the keys of an overlay, one member after the other, and count what is lost meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gevent.pool import Pool

from underlay.errors import UnderlayError
from underlay.facts.wireguard import PublicKeys
from underlay.features.wireguard import plan
from underlay.features.wireguard.settings import Overlay
from underlay.operations import wireguard_rotation as steps

#: Seconds between two looks, and until a job that says nothing is given up.
POLL, LIMIT = 0.5, steps.DELAY + steps.READY + 60
#: Milliseconds between two packets of the count.
EVERY = 200


@dataclass(frozen=True)
class Rotated:
    """What one replacement cost: packets sent and lost, 200 ms apart, the longest wait in s."""

    member: str
    sent: int
    lost: int
    waited: float

    def __str__(self) -> str:
        seconds = self.lost * EVERY / 1000
        return (
            f"{self.member}: new key, {self.lost} of {self.sent} packets lost ({seconds:.1f} s),"
            f" longest wait {self.waited:.1f} s"
        )


def order(overlay: Overlay) -> list[str]:
    """Spokes first: a hub's new key concerns everybody."""
    spokes = [name for name in overlay.members if name not in overlay.hubs]
    return [*spokes, *reversed(overlay.hubs)]


def rotate(hosts: Mapping[str, Any], name: str, overlay: Overlay, member: str) -> Rotated:
    """Give one member a new key; UnderlayError when it or a peer did not follow."""
    peers = [
        other
        for other in overlay.members
        if other != member and plan.linked(overlay, member, other)
    ]
    public = _public_keys(hosts, name, [member, *peers])
    addresses = {peer: str(overlay.members[peer].address) for peer in peers}
    sessions = {peer: (public[peer], addresses[peer]) for peer in peers}
    silent = _run(hosts[member], steps.silent(name, sessions))
    if silent:
        raise UnderlayError(
            f"{member}: {name}: key not replaced, {', '.join(silent)} gives no answer through the"
            " tunnel and would not follow; repair the session, then rotate"
        )
    observer = peers[0] if peers else None
    if observer is not None:
        _run(hosts[observer], steps.watch(str(overlay.members[member].address)))
    try:
        old, new = _run(hosts[member], steps.next_key(name))

        def learn(peer: str) -> None:
            networks = [str(cidr) for cidr in plan.allowed_ips(overlay, peer, member)]
            _run(hosts[peer], steps.learn(name, member, old, new, networks))

        # before the member takes it: the way to a peer may lead through the member
        Pool(20).map(learn, peers)
        _run(hosts[member], steps.take(name, {public[peer]: addresses[peer] for peer in peers}))
        said = {host: _wait(hosts[host], name) for host in (member, *peers)}
    finally:
        summary = "" if observer is None else " ".join(_run(hosts[observer], steps.counted()))
    failed = {host: text for host, text in said.items() if text != "rotated"}
    if failed:
        where, what = next(iter(failed.items()))
        done = "new key, but" if said[member] == "rotated" else "key not replaced,"
        raise UnderlayError(
            f"{member}: {name}: {done} {where}: {what}; apply deploys/wireguard.py,"
            " which joins both sides again, then look at the handshakes of `wg show`"
        )
    return Rotated(member, *steps.lost(summary)) if summary else Rotated(member, 0, 0, 0.0)


def _public_keys(hosts: Mapping[str, Any], name: str, members: list[str]) -> dict[str, str]:
    found = {}
    for member in members:
        key = (hosts[member].get_fact(PublicKeys) or {}).get(name)
        if not key:
            raise UnderlayError(f"{member}: {name}: has no key; apply deploys/wireguard.py first")
        found[member] = key
    return found


def _run(host: Any, script: str) -> list[str]:
    lines: list[str] = host.get_fact(steps.Ran, script=script) or []
    return lines


def _wait(host: Any, name: str) -> str:
    """What a job says in the end; a host that is not reached meanwhile is asked again."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        said = _run(host, steps.result(name))
        if said:
            return said[0]
        time.sleep(POLL)
    return "said nothing in time"
