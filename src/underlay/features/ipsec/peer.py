"""What the other side of a link must be set to, in its own words. Pure; no secret is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from underlay.addressing.mtu import mss
from underlay.features.ipsec import plan
from underlay.features.ipsec.proposals import Kind, of_kind
from underlay.features.ipsec.settings import Link
from underlay.operations.ipsec_tunnel import Tunnel

#: Numbers of RFC 3526, 5903 and 8031, which clouds use in place of names.
GROUPS = {
    "modp1024": 2, "modp1536": 5, "modp2048": 14, "modp3072": 15, "modp4096": 16, "modp6144": 17,
    "modp8192": 18, "ecp256": 19, "ecp384": 20, "ecp521": 21, "curve25519": 31,
}  # fmt: skip
_Lines = Iterator[str]


def settings(name: str, link: Link, form: str) -> str:
    """The far end's settings. form: a key of FORMS."""
    ours = link.managed[0]
    host = str(link.ends[ours].gateway)
    return "\n".join(FORMS[form](plan.tunnel(name, link, host), link, ours)) + "\n"


def _generic(own: Tunnel, link: Link, side: str) -> _Lines:
    far = plan.far(link, side)
    yield f"IKE version                 2, initiated by {plan.begins(link)}"
    yield f"its own address, identity   {link.ends[far].address}, {own.peer_identity}"
    yield f"peer's address, identity    {link.ends[side].address}, {own.identity}"
    yield f"authentication              {_how(link)}"
    for text in own.proposals:
        yield f"phase 1 (IKE)               {_phrase(text)}"
    for text in own.esp_proposals:
        yield f"phase 2 (ESP, tunnel mode)  {_phrase(text)}"
    yield f"lifetimes                   IKE {own.rekey_s} s, child {own.child_rekey_s} s"
    for child in own.children:
        yield f"child {child.name:<16}      its networks {', '.join(child.remote)}"
        yield f"{'':<28}peer's networks {', '.join(child.local)}"
    yield f"NAT traversal               {'forced' if link.encapsulate else 'as detected'}"
    yield f"dead peer detection         every {own.dpd_delay_s} s, then restart"
    yield f"MTU, TCP MSS                {own.mtu}, {mss(own.mtu)}"


def _aws(own: Tunnel, link: Link, side: str) -> _Lines:
    """Names of a Site-to-Site VPN connection's tunnel options."""
    yield "Customer gateway"
    yield f"  IP address: {link.ends[side].address}"
    yield "Site-to-Site VPN connection"
    yield "  Routing options: Static"
    yield f"  Static IP prefixes: {', '.join(_near(own))}"
    yield f"  Local IPv4 network CIDR: {_single(_near(own))}"
    yield f"  Remote IPv4 network CIDR: {_single(own.remote)}"
    yield "Tunnel options"
    yield (
        "  Pre-shared key: the one of ipsec.links." + own.name + ".psk, 8 to 64 of A-Z a-z 0-9 . _"
    )
    yield "  IKE versions: ikev2"
    for phase, texts, life, longest, groups in (
        ("1", own.proposals, own.rekey_s, 28800, _AWS.groups - {5}),
        ("2", own.esp_proposals, own.child_rekey_s, 3600, _AWS.groups),
    ):
        yield f"  Phase {phase} encryption algorithms: {_ciphers(texts, _AWS)}"
        yield f"  Phase {phase} integrity algorithms: {_integrity(texts, _AWS)}"
        yield f"  Phase {phase} DH group numbers: {_groups(texts, replace(_AWS, groups=groups))}"
        fits = 900 <= life <= longest
        yield (
            f"  Phase {phase} lifetime (seconds): {life}"
            + ("" if fits else f" (it takes 900 to {longest}: set that here, too)")
        )
    yield "  DPD timeout action: restart"
    yield f"  Startup action: {'add' if plan.begins(link) == side else 'start'}"


def _alibaba(own: Tunnel, link: Link, side: str) -> _Lines:
    """Names of an IPsec-VPN connection; one value each, of the first proposal that it has whole."""
    ike, esp = (_first(texts, _ALIBABA) for texts in (own.proposals, own.esp_proposals))
    yield "Customer gateway"
    yield f"  IP Address: {link.ends[side].address}"
    yield "IPsec-VPN connection"
    yield "  Routing Mode: Protected Data Flows"
    yield f"  Local Network: {', '.join(own.remote)}"
    yield f"  Remote Network: {', '.join(_near(own))}"
    yield f"  Pre-shared Key: the one of ipsec.links.{own.name}.psk"
    yield "  Version: ikev2"
    yield f"  LocalId: {own.peer_identity}"
    yield f"  RemoteId: {own.identity}"
    for label, texts, life in (("IKE", ike, own.rekey_s), ("IPsec", esp, own.child_rekey_s)):
        yield f"  {label} Encryption Algorithm: {_ciphers(texts, _ALIBABA)}"
        yield f"  {label} Authentication Algorithm: {_integrity(texts, _ALIBABA)}"
        yield f"  {label} DH Group: {_groups(texts, _ALIBABA) or 'disabled'}"
        yield f"  {label} SA Life Cycle (seconds): {life}"
    yield f"  DPD: enabled, NAT Traversal: {'enabled' if plan.in_udp(link) else 'as needed'}"


FORMS: Mapping[str, Callable[[Tunnel, Link, str], _Lines]] = {
    "generic": _generic, "aws": _aws, "alibaba": _alibaba,
}  # fmt: skip


@dataclass(frozen=True)
class _Cloud:
    """What a cloud offers: our words -> its own, and how it writes the groups that it has."""

    ciphers: Mapping[str, str]
    integrity: Mapping[str, str]
    group: str
    groups: frozenset[int]


#: AWS Site-to-Site VPN user guide, "Tunnel options".
_AWS = _Cloud(
    ciphers={
        "aes128": "AES128", "aes256": "AES256", "aes128gcm16": "AES128-GCM-16",
        "aes256gcm16": "AES256-GCM-16",
    },
    integrity={
        "sha1": "SHA1", "sha256": "SHA2-256", "sha384": "SHA2-384", "sha512": "SHA2-512",
    },
    group="",
    groups=frozenset({2, 5, *range(14, 25)}),
)  # fmt: skip
#: Alibaba Cloud VPN Gateway, API CreateVpnConnection: IkeConfig and IpsecConfig.
_ALIBABA = _Cloud(
    ciphers={"aes128": "aes", "aes192": "aes192", "aes256": "aes256", "3des": "3des"},
    integrity={name: name for name in ("md5", "sha1", "sha256", "sha384", "sha512")},
    group="group",
    groups=frozenset({2, 5, 14}),
)


def _how(link: Link) -> str:
    return "certificates" if link.psk is None else f"preshared key, from {link.psk}"


def _phrase(text: str) -> str:
    found = [word for word in text.split("-") if word not in GROUPS]
    groups = [f"group {GROUPS[word]} ({word})" for word in of_kind(text, Kind.KEY_EXCHANGE)]
    return ", ".join([*found, *(groups or ["no key exchange of its own (no PFS)"])])


def _ciphers(texts: tuple[str, ...], cloud: _Cloud) -> str:
    return _named(_words(texts, Kind.AEAD, Kind.ENCRYPTION), cloud.ciphers) or "none"


def _integrity(texts: tuple[str, ...], cloud: _Cloud) -> str:
    words = [word.removeprefix("prf") for word in _words(texts, Kind.INTEGRITY, Kind.PRF)]
    return _named(words, cloud.integrity) or "-"


def _groups(texts: tuple[str, ...], cloud: _Cloud) -> str:
    """Numbers of key exchanges, "" when the proposals have none."""
    words = _words(texts, Kind.KEY_EXCHANGE)
    names = {word: f"{cloud.group}{n}" for word, n in GROUPS.items() if n in cloud.groups}
    return _named(words, names)


def _words(texts: tuple[str, ...], *kinds: Kind) -> list[str]:
    return [word for text in texts for kind in kinds for word in of_kind(text, kind)]


def _named(words: list[str], names: Mapping[str, str]) -> str:
    """Words as a cloud has them; what it does not have is said."""
    there = [names[word] for word in words if word in names]
    lacking = [word for word in words if word not in names]
    said = ", ".join(dict.fromkeys(there)) or ("none" if lacking else "")
    return said + (f" (it has no {', '.join(dict.fromkeys(lacking))})" if lacking else "")


def _first(texts: tuple[str, ...], cloud: _Cloud) -> tuple[str, ...]:
    """The first proposal that a cloud has whole; the first of all when it has none."""
    return next(
        ((text,) for text in texts
         if not _words((text,), Kind.AEAD)
         and all(word in cloud.ciphers for word in _words((text,), Kind.ENCRYPTION))
         and all(word in cloud.integrity for word in _words((text,), Kind.INTEGRITY))
         and all(GROUPS[word] in cloud.groups for word in _words((text,), Kind.KEY_EXCHANGE))),
        texts[:1],
    )  # fmt: skip


def _near(own: Tunnel) -> tuple[str, ...]:
    """Every network of our side once."""
    return tuple(dict.fromkeys(cidr for child in own.children for cidr in child.local))


def _single(networks: tuple[str, ...]) -> str:
    """One pair of networks is all that a tunnel takes; several become the whole."""
    return networks[0] if len(networks) == 1 else "0.0.0.0/0 (one pair only: use mode route)"
