"""Cipher proposals in strongSwan's words: what they may hold, need and cost. Pure.

The rule: a word that is not known here is refused, because a misspelt one would only be found by
the daemon, on a live gateway. Words and meanings: strongswan 5.9 `proposal_keywords_static.txt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from underlay.addressing.mtu import CIPHERS, Cipher

#: Managed ends: authenticated encryption first, then what every cloud accepts.
IKE_DEFAULT = ("aes256gcm16-prfsha384-ecp384", "aes256-sha256-ecp256", "aes256-sha256-modp2048")
ESP_DEFAULT = ("aes256gcm16-ecp384", "aes256-sha256-ecp256", "aes256-sha256-modp2048")

#: Other spellings that strongSwan takes for the same thing.
ALIASES = {
    "sha2_256": "sha256", "sha2_384": "sha384", "sha2_512": "sha512", "x25519": "curve25519",
    "aes": "aes128", "sha": "sha1",
}  # fmt: skip


class Kind(Enum):
    """What a word of a proposal chooses."""

    ENCRYPTION = "encryption"
    AEAD = "authenticated encryption"
    INTEGRITY = "integrity"
    PRF = "pseudo-random function"
    KEY_EXCHANGE = "key exchange"
    SEQUENCE = "sequence numbers"


@dataclass(frozen=True)
class Word:
    """One algorithm; daemon: its name in `swanctl --list-algs`, "" when it is not listed."""

    kind: Kind
    daemon: str
    weak: bool = False


WORDS: dict[str, Word] = {
    **{f"aes{bits}": Word(Kind.ENCRYPTION, "AES_CBC") for bits in (128, 192, 256)},
    **{f"aes{bits}gcm16": Word(Kind.AEAD, "AES_GCM_16") for bits in (128, 192, 256)},
    "chacha20poly1305": Word(Kind.AEAD, "CHACHA20_POLY1305"),
    "3des": Word(Kind.ENCRYPTION, "3DES_CBC", weak=True),
    "md5": Word(Kind.INTEGRITY, "HMAC_MD5_96", weak=True),
    "sha1": Word(Kind.INTEGRITY, "HMAC_SHA1_96", weak=True),
    "sha256": Word(Kind.INTEGRITY, "HMAC_SHA2_256_128"),
    "sha384": Word(Kind.INTEGRITY, "HMAC_SHA2_384_192"),
    "sha512": Word(Kind.INTEGRITY, "HMAC_SHA2_512_256"),
    "prfsha256": Word(Kind.PRF, "PRF_HMAC_SHA2_256"),
    "prfsha384": Word(Kind.PRF, "PRF_HMAC_SHA2_384"),
    "prfsha512": Word(Kind.PRF, "PRF_HMAC_SHA2_512"),
    "modp1024": Word(Kind.KEY_EXCHANGE, "MODP_1024", weak=True),
    "modp1536": Word(Kind.KEY_EXCHANGE, "MODP_1536", weak=True),
    **{
        f"modp{bits}": Word(Kind.KEY_EXCHANGE, f"MODP_{bits}")
        for bits in (2048, 3072, 4096, 6144, 8192)
    },
    **{f"ecp{bits}": Word(Kind.KEY_EXCHANGE, f"ECP_{bits}") for bits in (256, 384, 521)},
    "curve25519": Word(Kind.KEY_EXCHANGE, "CURVE_25519"),
    "esn": Word(Kind.SEQUENCE, ""),
    "noesn": Word(Kind.SEQUENCE, ""),
}


def words(proposal: str) -> tuple[str, ...]:
    """The words of a proposal in one spelling."""
    return tuple(ALIASES.get(word, word) for word in proposal.strip().lower().split("-"))


def canonical(proposal: str) -> str:
    """The proposal as swanctl.conf gets it."""
    return "-".join(words(proposal))


def problems(proposal: str, *, esp: bool, allow_weak: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with one proposal, and what to write instead."""
    if proposal.rstrip().endswith("!"):
        yield "`!` has no counterpart", "leave it out: swanctl is always strict"
        return
    unknown = [word for word in words(proposal) if word not in WORDS]
    if unknown:
        known = ", ".join(sorted(WORDS))
        yield f"no algorithm {unknown[0]!r}", f"use words of: {known}"
        return
    weak = [word for word in words(proposal) if WORDS[word].weak]
    if weak and not allow_weak:
        yield f"{weak[0]} is weak", "use sha256 and modp2048 or better, or say allow_weak: True"
    yield from _shape(proposal, esp=esp)


def _shape(proposal: str, *, esp: bool) -> Iterator[tuple[str, str]]:
    has = {kind: of_kind(proposal, kind) for kind in Kind}
    sealed = bool(has[Kind.AEAD])
    if not sealed and not has[Kind.ENCRYPTION]:
        yield "encrypts nothing", "begin with aes256gcm16, chacha20poly1305 or aes256"
    if sealed and (has[Kind.ENCRYPTION] or has[Kind.INTEGRITY]):
        yield "authenticated encryption beside another cipher", "write them as two proposals"
    if has[Kind.ENCRYPTION] and not has[Kind.INTEGRITY]:
        yield "encryption without integrity", "add sha256"
    if esp and has[Kind.PRF]:
        yield "a child needs no pseudo-random function", f"leave {has[Kind.PRF][0]} out"
    if not esp and sealed and not has[Kind.PRF]:
        yield "no pseudo-random function", "add prfsha256 or prfsha384"
    if not esp and not has[Kind.KEY_EXCHANGE]:
        yield "no key exchange", "add ecp384, curve25519 or modp2048"


def of_kind(proposal: str, kind: Kind) -> tuple[str, ...]:
    """The words of one kind."""
    return tuple(word for word in words(proposal) if word in WORDS and WORDS[word].kind is kind)


def forward_secret(proposals: Iterable[str]) -> bool:
    """Whether a child makes a key exchange of its own, whichever proposal is taken."""
    return all(of_kind(proposal, Kind.KEY_EXCHANGE) for proposal in proposals)


def ciphers(proposals: Iterable[str]) -> tuple[Cipher, ...]:
    """What packets may be wrapped in, by the proposals of a child; each is what the peer may take.

    3DES is counted as AES: its blocks are smaller, so that more fits than is promised.
    """
    found = []
    for proposal in proposals:
        sealed = of_kind(proposal, Kind.AEAD)
        if sealed:
            found.append(CIPHERS["chacha20poly1305" if "chacha" in sealed[0] else "aesgcm16"])
            continue
        found += [
            CIPHERS[f"aes-{'sha1' if name == 'md5' else name}"]
            for name in of_kind(proposal, Kind.INTEGRITY)
        ]
    return tuple(found)


def needed(ike: Iterable[str], esp: Iterable[str]) -> frozenset[str]:
    """What the daemon itself must be able to do, in the names of `swanctl --list-algs`.

    The kernel does the ciphers of children; the daemon makes their key exchange.
    """
    found = {WORDS[word].daemon for proposal in ike for word in words(proposal)}
    for proposal in ike:
        if not of_kind(proposal, Kind.PRF):
            names = [word for word in words(proposal) if WORDS[word].kind is Kind.INTEGRITY]
            found |= {_prf(word) for word in names}
    for proposal in esp:
        found |= {WORDS[word].daemon for word in of_kind(proposal, Kind.KEY_EXCHANGE)}
    return frozenset(found - {""})


def _prf(integrity: str) -> str:
    """A proposal without one uses the function of its integrity algorithm."""
    return "PRF_HMAC_" + {"md5": "MD5", "sha1": "SHA1"}.get(integrity, f"SHA2_{integrity[3:]}")
