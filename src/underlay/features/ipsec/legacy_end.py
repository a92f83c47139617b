"""One end of a connection of ipsec.conf as an end of a link, and two that are the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network
from typing import Any

from underlay.features.ipsec.legacy_file import Conn, Word, at

HANDLED = frozenset(
    f"{side}{word}" for side in ("left", "right") for word in ("", "id", "subnet", "subnets")
)
_ANY = {"%any", "%any4", "%defaultroute", "0.0.0.0"}  # noqa: S104 - a word of ipsec.conf
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


def end(name: str, conn: Conn, side: str, notes: list[str]) -> dict[str, object]:
    """One end; what nobody wrote down is asked for in a note. UsageError names the line."""
    found: dict[str, object] = {}
    word = conn.get(side, Word("%any", 0))
    identity = conn.get(f"{side}id")
    address = word.value
    if address in _ANY:
        address = _outer(identity) or f"{side}.example"
        found["behind_nat"] = True
        notes.append(
            f"{name}: {side}={word.value}: nobody calls this end (behind_nat); leave that out and"
            f" write ends.{side}.address when it has an address that the other one can call"
        )
        if address == f"{side}.example":
            notes.append(f"{name}: write ends.{side}.address in place of {address}")
    elif not _HOST.fullmatch(address):
        raise at(word, f"{side}={address}: neither address nor name; write it as 192.0.2.1")
    found["address"] = address
    if identity is not None and identity.value != address:
        found["identity"] = identity.value
    networks = _networks(name, conn, side, notes)
    if not networks and re.fullmatch(r"[0-9.]+", address):
        networks = [f"{address}/32"]
    if not networks:
        notes.append(f"{name}: no {side}subnet: name ends.{side}.networks")
    found["networks"] = networks
    return found


def _outer(identity: Word | None) -> str:
    """An identity that is an address or a name is where the end is reached, as a rule."""
    text = "" if identity is None else identity.value.removeprefix("@")
    return text if _HOST.fullmatch(text) else ""


def _networks(name: str, conn: Conn, side: str, notes: list[str]) -> list[str]:
    word = conn.get(f"{side}subnet") or conn.get(f"{side}subnets")
    if word is None:
        return []
    found = []
    for text in re.split(r"[,\s]+", word.value.strip("{} ,")):
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise at(
                word, f"{word.value!r}: no list of networks; write each as 10.244.0.0/16, without"
                " protocol and port",
            ) from None  # fmt: skip
        if not isinstance(network, IPv4Network):
            raise at(word, f"{text}: networks of a link are IPv4")
        if "/" in text and str(network) != text:
            notes.append(f"{name}: {side}subnet: {text} is written as {network}")
        found.append(str(network))
    return list(dict.fromkeys(found))


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two links join the same ends, so that they are one connection."""
    return [_who(one, side) for side in one["ends"]] == [_who(other, side) for side in one["ends"]]


def _who(link: Mapping[str, Any], side: str) -> tuple[str, str]:
    found = link["ends"][side]
    return found["address"], found.get("identity", "")


def children(link: Mapping[str, Any]) -> frozenset[str]:
    """Names of the connections that are children of this link."""
    return frozenset(link.get("children", ()))


def merge(link: dict[str, Any], name: str, other: Mapping[str, Any], child: str) -> None:
    """Make the networks of another connection a child of this link, and those it had another."""
    children = link.setdefault("children", {name: _pair(link)})
    children[child] = _pair(other)
    for side, found in link["ends"].items():
        found["networks"] = list(
            dict.fromkeys([*found["networks"], *other["ends"][side]["networks"]])
        )


def _pair(link: Mapping[str, Any]) -> dict[str, list[str]]:
    return {side: list(found["networks"]) for side, found in link["ends"].items()}
