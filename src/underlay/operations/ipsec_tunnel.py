"""One link as one of its hosts needs it; types only. No secret is among them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Child:
    """One pair of sets of networks, from this host's side."""

    name: str
    local: tuple[str, ...]
    remote: tuple[str, ...]


@dataclass(frozen=True)
class Tunnel:
    """One link on one of its hosts.

    gateway: this host ends it, else it only routes to `via`; first: it begins; peer: the far
    gateway's outer address or name, `peer_address` only when numeric; local: own outer address or
    `%any`; device and if_id: of the XFRM interface, "" and 0 in policy mode; algorithms: what the
    daemon must be able to do; secret: how the two prove who they are, `psk` or `certificate`;
    in_udp: the plan counts the header of UDP, because of NAT or by `encapsulate`; provers: gateways
    of ours, who begins first.
    """

    name: str
    gateway: bool
    first: bool
    local: str
    peer: str
    peer_address: str
    identity: str
    peer_identity: str
    secret: str
    children: tuple[Child, ...]
    bypass: tuple[str, ...]
    accept_covered: tuple[str, ...]
    proposals: tuple[str, ...]
    esp_proposals: tuple[str, ...]
    algorithms: frozenset[str]
    encapsulate: bool
    in_udp: bool
    dpd_delay_s: int
    rekey_s: int
    child_rekey_s: int
    device: str
    if_id: int
    via: str
    mtu: int
    keep_unproved: bool
    provers: tuple[str, ...]

    @property
    def remote(self) -> tuple[str, ...]:
        """Every far network once."""
        return tuple(dict.fromkeys(cidr for child in self.children for cidr in child.remote))

    @property
    def routes(self) -> tuple[str, ...]:
        """What this host's own table holds: nodes route to the gateway, it to its interface."""
        return self.remote if self.via or self.device else ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every (local, far) pair that a child carries."""
        return tuple(
            dict.fromkeys(
                (own, far) for child in self.children for own in child.local for far in child.remote
            )
        )
