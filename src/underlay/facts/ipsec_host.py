"""What is known of IPsec on one host; types only. No secret and no hash of one is among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from underlay import journal

#: Our files on a host: what each link needs there, without secrets.
FOLDER = "/etc/underlay/ipsec"
#: strongSwan's own folders.
SWANCTL = "/etc/swanctl"
CONNECTIONS = f"{SWANCTL}/conf.d"
#: Its folders for a key, the certificate that goes with it, and the authority of the far one's.
CERTIFICATES = ("private", "x509", "x509ca")
CHANGE = "ipsec"
#: Files of links as they were before a change that is not proved yet.
BEFORE = f"{journal.ROOT}/{CHANGE}/before"
#: Our tables of nft begin so, the link's name follows.
NFT = "underlay-ipsec-"
#: Our routing table and the preference of the rule that leads there; the daemon's own is 220.
TABLE = 218
#: A file of another name in our folders is not ours, and its name goes into no command.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")


@dataclass(frozen=True)
class Selectors:
    """What a live child carries, sorted."""

    local: tuple[str, ...]
    remote: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """One route of our table."""

    via: str
    device: str
    mtu: int


@dataclass(frozen=True)
class Interface:
    """One live XFRM interface."""

    if_id: int
    mtu: int


@dataclass(frozen=True)
class Exemption:
    """A live table of nft that keeps addresses: the mark of what made it, and its rules."""

    mark: str
    rules: int


@dataclass(frozen=True)
class Host:
    """One host.

    tools: commands that are there; version: of swanctl, "" without it; starter: the legacy daemon
    runs; daemon_enabled, daemon_active: of unit `strongswan`; included: swanctl.conf reads conf.d;
    algorithms: of the daemon, empty when it does not run; loaded: connections it knows;
    associations: connection -> installed children by name; files: our texts by path; secrets: our
    secret files by path -> octal mode; hashes: SHA-256 by path of files without secrets; enabled,
    refreshing: our unit at boot, our timer; chains: (table, chain of ours) -> rules; order: (table,
    chain) -> targets of its rules in order; table: our routes; ruled: a rule leads there;
    connected: networks of own addresses; mains: routes of the main table as (to, device);
    ike_port_taken: somebody listens on UDP 500; ssh: client and server address of this session;
    ssh_device: where packets to that client leave; bgp: peers of live BGP sessions; pools:
    networks that Calico does not masquerade to, None without Calico; exempt: link -> our table of
    nft, None where nft cannot have one; nft_masquerades: something masquerades in nft;
    dropping: (table, hook) of nft's chains that drop what they do not accept; kept: folders of
    earlier files of links, and those that a run was still copying, which end in `.new`.
    """

    tools: frozenset[str]
    version: str
    starter: bool
    daemon_enabled: bool
    daemon_active: bool
    included: bool
    algorithms: frozenset[str]
    loaded: frozenset[str]
    associations: Mapping[str, Mapping[str, Selectors]]
    files: Mapping[str, str]
    secrets: Mapping[str, str]
    hashes: Mapping[str, str]
    enabled: bool
    refreshing: bool
    chains: Mapping[tuple[str, str], tuple[str, ...]]
    order: Mapping[tuple[str, str], tuple[str, ...]]
    table: Mapping[str, Route]
    ruled: bool
    interfaces: Mapping[str, Interface]
    connected: tuple[str, ...]
    mains: tuple[tuple[str, str], ...]
    ip_forward: bool
    ike_port_taken: bool
    ssh: tuple[str, str] | None
    ssh_device: str
    bgp: tuple[str, ...]
    pools: tuple[str, ...] | None
    exempt: Mapping[str, Exemption] | None
    nft_masquerades: bool
    dropping: tuple[tuple[str, str], ...]
    kept: frozenset[str]
    entries: tuple[journal.Entry, ...]

    @property
    def ours(self) -> tuple[str, ...]:
        """Links that our files name, sorted; a run that was killed may have left only some."""
        starts = (
            f"{CONNECTIONS}/underlay-", f"{CONNECTIONS}/secret-underlay-", f"{FOLDER}/",
            *(f"{SWANCTL}/{kind}/underlay-" for kind in CERTIFICATES),
        )  # fmt: skip
        paths = {path.removeprefix(start) for path in {*self.files, *self.secrets}
                 for start in starts if path.startswith(start)}  # fmt: skip
        names = {name.rpartition(".")[0] for name in paths}
        names |= {name.removesuffix(".new") for name in self.kept}
        return tuple(sorted(name for name in names if _NAME.fullmatch(name)))

    @property
    def unproved(self) -> frozenset[str]:
        """Links that a run changed and did not prove; a copy that was cut short changed nothing."""
        return frozenset(name for name in self.kept if not name.endswith(".new"))

    def jumps(self, table: str, start: str, own: str, *, top: bool) -> bool:
        """Whether a chain comes to ours; top: before all rules but those of Calico, which insists.

        What Calico's own first rules do is settled by its pools and policies.
        """
        targets = self.order.get((table, start), ())
        if own not in targets:
            return False
        before = targets[: targets.index(own)]
        return not top or all(target.startswith(("IPSEC-", "cali-")) for target in before)
