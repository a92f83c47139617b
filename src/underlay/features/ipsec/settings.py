"""The `ipsec` section: every link between sites, the same for all hosts."""

from __future__ import annotations

import re
import zlib
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from underlay.features.ipsec.proposals import ESP_DEFAULT, IKE_DEFAULT
from underlay.settings import Part, Section

#: Part of file names, of chains of iptables (28 characters) and of words in swanctl.conf.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
_IDENTITY = re.compile(r"[A-Za-z0-9@%*._:+=/, -]{1,255}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


class Secret(Part):
    """Where this computer finds a secret; exactly one of the three [underlay].

    file: file that holds it, relative to where the run starts {a path}.
    env: environment variable that holds it {a name}.
    command: program and its arguments, run without a shell, that prints it {a program, then words}.
    """

    file: str | None = None
    env: str | None = None
    command: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, found: object) -> object:
        if isinstance(found, str | bytes):
            raise ValueError(
                "a secret does not belong into the inventory; write where this computer finds it:"
                ' {"file": ...}, {"env": ...} or {"command": [...]}'
            )
        return found

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, found: object) -> object:
        if isinstance(found, str):
            raise ValueError('runs without a shell; write it as ["pass", "show", "vpn/to-aws"]')
        return found

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if sum(found is not None for found in (self.file, self.env, self.command)) != 1:
            raise ValueError("give exactly one of file, env and command")
        if self.command == () or self.file == "" or self.env == "":
            raise ValueError("is empty; name a file, a variable or a program")
        return self

    def __str__(self) -> str:
        if self.file is not None:
            return f"file {self.file}"
        return f"variable {self.env}" if self.env is not None else f"command {self.command}"


class Certificate(Part):
    """What one end shows [swanctl.conf, local.certs].

    file: its certificate, on this computer {a path}.
    key: where its private key comes from, for a managed end.
    """

    file: str
    key: Secret | None = None


class End(Part):
    """One side of a link [swanctl.conf, connections].

    gateway: host that carries the link, none for a peer that is managed elsewhere {a host of the
        inventory} [underlay].
    address: where the other side reaches this one {an address, of an unmanaged peer also a name}
        [swanctl.conf, remote_addrs].
    local_address: address that the gateway itself has where a NAT stands before it [swanctl.conf,
        local_addrs].
    identity: its identity in the key exchange, none for its address {an address, a name or a DN}
        [swanctl.conf, local.id; RFC 7296, section 3.5].
    networks: networks behind this end [swanctl.conf, local_ts].
    nodes: hosts of this side that get routes to the far networks {each a host of the inventory}
        [underlay].
    inside: the gateway's address that those hosts route to [ip-route(8)].
    underlay_mtu: largest packet in bytes on its path, of both ends the smaller counts [RFC 791].
    behind_nat: nobody can call this end, so it calls [RFC 7296, section 2.23].
    certificate: what it shows, with `ca` [swanctl.conf, local.certs].
    """

    gateway: str | None = None
    address: str
    local_address: IPv4Address | None = None
    identity: str | None = None
    networks: tuple[IPv4Network, ...] = ()
    nodes: tuple[str, ...] = ()
    inside: IPv4Address | None = None
    underlay_mtu: int = Field(default=1500, ge=576, le=65535)
    behind_nat: bool = False
    certificate: Certificate | None = None

    @field_validator("gateway", mode="before")
    @classmethod
    def _one_gateway(cls, found: object) -> object:
        if isinstance(found, list | tuple | set | dict):
            raise ValueError(
                "an end has one gateway, because strongSwan has no failover between two; write a"
                " link for each pair of gateways, each with networks of its own"
            )
        return found

    @field_validator("address")
    @classmethod
    def _address(cls, found: str) -> str:
        if not _HOST.fullmatch(found):
            raise ValueError(f"neither address nor name: {found!r}; write it as 192.0.2.1")
        return found

    @field_validator("identity")
    @classmethod
    def _identity(cls, found: str | None) -> str | None:
        if found is not None and not _IDENTITY.fullmatch(found):
            raise ValueError(f"not an identity: {found!r}; use an address, a name or a DN")
        return found

    @property
    def numeric(self) -> IPv4Address | None:
        """The address, None when it is a name."""
        try:
            found = ip_address(self.address)
        except ValueError:
            return None
        return found if isinstance(found, IPv4Address) else None

    @property
    def shown_as(self) -> str:
        """Its identity in the key exchange."""
        return self.identity or self.address


class Link(Part):
    """One link between two ends [swanctl.conf, connections].

    ends: the two ends, by names of yours, the first managed one begins.
    state: `absent` removes the link everywhere [underlay].
    mode: `policy` selects packets by networks, `route` by an XFRM interface of the link's own
        [swanctl.conf, if_id_in].
    interface: name of that XFRM interface, none for one of ours {at most 15 letters, digits, `_`
        and `-`} [ip-link(8), xfrm].
    if_id: number that ties the policies to the XFRM interface, none for one of ours [ip-link(8),
        xfrm].
    psk: where the preshared key comes from [swanctl.conf, secrets.ike].
    ca: file of the authority of both certificates, in place of `psk` {a path} [swanctl.conf,
        remote.cacerts].
    proposals: what may be agreed on for the key exchange, the first is preferred {each in
        strongSwan's words} [swanctl.conf, proposals; RFC 8247].
    esp_proposals: what may be agreed on for the children, the first is preferred {each in
        strongSwan's words} [swanctl.conf, esp_proposals; RFC 8221].
    children: child -> end -> networks, none for one child `net` with all networks of both ends
        [swanctl.conf, children].
    bypass: networks that never go through the link [underlay].
    accept_covered: addresses of this computer or of BGP peers that really lie behind the link
        [underlay].
    encapsulate: carry ESP in UDP even without a NAT [swanctl.conf, encap; RFC 3948].
    allow_weak: take proposals that are refused as weak otherwise [RFC 8247, RFC 8221].
    keep_unproved: leave a link in place that could not be established [underlay].
    dpd_delay_s: seconds of silence after which the peer is asked whether it lives [swanctl.conf,
        dpd_delay].
    rekey_s: age in seconds at which the connection gets new keys [swanctl.conf, rekey_time].
    child_rekey_s: age in seconds at which its children get new keys [swanctl.conf, children
        rekey_time].
    mtu: largest packet in bytes of routes and interfaces, none for what the costliest cipher leaves
        [RFC 4303].
    """

    ends: dict[str, End] = Field(default_factory=dict)
    state: Literal["present", "absent"] = "present"
    mode: Literal["policy", "route"] = "policy"
    interface: str | None = None
    if_id: int | None = Field(default=None, ge=1, le=0x7FFFFFFF)
    psk: Secret | None = None
    ca: str | None = None
    proposals: tuple[str, ...] = IKE_DEFAULT
    esp_proposals: tuple[str, ...] = ESP_DEFAULT
    children: dict[str, dict[str, tuple[IPv4Network, ...]]] = Field(default_factory=dict)
    bypass: tuple[IPv4Network, ...] = ()
    accept_covered: tuple[IPv4Network, ...] = ()
    encapsulate: bool = False
    allow_weak: bool = False
    keep_unproved: bool = False
    dpd_delay_s: int = Field(default=10, ge=1, le=3600)
    rekey_s: int = Field(default=14400, ge=300, le=604800)
    child_rekey_s: int = Field(default=3600, ge=120, le=604800)
    mtu: int | None = Field(default=None, ge=576, le=65535)

    @field_validator("children")
    @classmethod
    def _children(
        cls, found: dict[str, dict[str, tuple[IPv4Network, ...]]]
    ) -> dict[str, dict[str, tuple[IPv4Network, ...]]]:
        for name in found:
            if not NAME.fullmatch(name):
                raise ValueError(f"not a name: {name!r}; use up to 16 of a-z, 0-9 and -")
        return found

    @field_validator("interface")
    @classmethod
    def _interface(cls, found: str | None) -> str | None:
        if found is not None and not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]{0,14}", found):
            raise ValueError(f"not an interface name: {found!r}; use at most 15 letters and digits")
        return found

    @property
    def managed(self) -> tuple[str, ...]:
        """Names of the ends that are hosts of the inventory, in their order."""
        return tuple(name for name, end in self.ends.items() if end.gateway is not None)

    def number(self, name: str) -> int:
        """The id that ties the link's policies to its interface, the same on every run."""
        return self.if_id or (zlib.crc32(name.encode()) & 0x7FFFFFFF) or 1

    def device(self, name: str) -> str:
        """The link's XFRM interface, "" in policy mode."""
        return "" if self.mode == "policy" else self.interface or f"xf-{name}"[:15]


class IPsec(Section):
    """Links of the fleet [underlay].

    links: name -> link [swanctl.conf, connections].
    guard_s: seconds that a change which may cut SSH has to prove itself before the node takes it
        back.
    prove_s: seconds that a link may need to be established.
    """

    KEY: ClassVar[str] = "ipsec"

    links: dict[str, Link] = Field(default_factory=dict)
    guard_s: int = Field(default=120, ge=15, le=3600)
    prove_s: int = Field(default=60, ge=10, le=600)

    @field_validator("links")
    @classmethod
    def _names(cls, found: dict[str, Link]) -> dict[str, Link]:
        for name in found:
            if not NAME.fullmatch(name):
                raise ValueError(f"not a link name: {name!r}; use up to 16 of a-z, 0-9 and -")
        return found

    @property
    def present(self) -> dict[str, Link]:
        """The links that should be there."""
        return {name: link for name, link in self.links.items() if link.state == "present"}
