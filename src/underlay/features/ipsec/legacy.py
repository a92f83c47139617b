"""The guide's `ipsec.conf` in the form of the inventory, and what changes in meaning. Pure.

The rule: every keyword is translated or named as not translated; nothing is dropped in silence.
Defaults of the old form are from strongSwan's ipsec.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pprint import pformat

from underlay.errors import UsageError
from underlay.features.ipsec import proposals

#: Keywords that say what the daemon does now anyway, or that need no word of ours.
_SILENT = {"type": "tunnel", "keyexchange": "ikev2", "compress": "no", "fragmentation": "yes"}


@dataclass
class Imported:
    """The section as it would be written, and what a reader must know."""

    links: dict[str, dict[str, object]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Lines for group_data/all.py, the notes before them."""
        notes = "\n".join(f"# {note}" for note in self.notes)
        return f"{notes}\n\nipsec = {pformat({'links': self.links}, width=90, sort_dicts=False)}\n"


def convert(text: str) -> Imported:
    """From the text of an ipsec.conf; UsageError when it holds no connection."""
    sections = parse(text)
    base = sections.pop("%default", {})
    found = Imported()
    for name, own in sections.items():
        conn = {**base, **own}
        link = re.sub(r"[^a-z0-9-]", "-", name.lower())[:16].strip("-") or "link"
        if link != name:
            found.notes.append(f"{name}: is named {link} here, because names end up in chains")
        found.links[link] = _link(link, conn, found.notes)
    if not found.links:
        raise UsageError("no `conn` in this file; give strongSwan's ipsec.conf")
    return found


def parse(text: str) -> dict[str, dict[str, str]]:
    """Connection name -> its keywords; `also` is resolved, other sections are skipped."""
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].rstrip()
        if not line.strip():
            continue
        words = line.split()
        if not line[0].isspace():
            current = {}
            if words[0] == "conn" and len(words) == 2:
                current = sections.setdefault(words[1], {})
            elif words[0] not in {"config", "ca", "version", "include", "conn"}:
                raise UsageError(f"line {number}: neither section nor keyword (got {raw!r})")
            continue
        key, equals, value = line.strip().partition("=")
        if not equals:
            raise UsageError(f"line {number}: no `=` (got {raw!r}); is it an ipsec.conf?")
        current[key.strip().lower()] = value.strip().strip('"')
    for name, conn in sections.items():
        also = conn.pop("also", None)
        if also is not None:
            if also not in sections:
                raise UsageError(f"conn {name}: also={also} names no connection")
            sections[name] = {**sections[also], **conn}
    return sections


def _link(name: str, conn: Mapping[str, str], notes: list[str]) -> dict[str, object]:
    left, right = (_end(conn, side) for side in ("left", "right"))
    notes.append(
        f"{name}: name the host of the inventory that is `left`: ends.left.gateway, and the nodes"
        " of its side with ends.left.nodes and ends.left.inside"
    )
    link: dict[str, object] = {"ends": {"left": left, "right": right}}
    how = conn.get("authby", conn.get("leftauth", "pubkey"))
    if how in {"secret", "psk"}:
        link["psk"] = {"file": f"secrets/{name}.psk"}
        notes.append(
            f"{name}: put the key of ipsec.secrets alone into secrets/{name}.psk (mode 600), or"
            " name an env or a command"
        )
    else:
        notes.append(f"{name}: authby={how}: give `ca` and each end's `certificate` by hand")
    link.update(_algorithms(name, conn, notes))
    link.update(_times(conn))
    notes += _meanings(name, conn)
    return link


def _end(conn: Mapping[str, str], side: str) -> dict[str, object]:
    found: dict[str, object] = {}
    address = conn.get(side, "%any")
    if address in {"%any", "%defaultroute", "%any4"}:
        found["behind_nat"] = True
        address = conn.get(f"{side}id", f"{side}.example")
    found["address"] = address.strip("@")
    if f"{side}id" in conn:
        found["identity"] = conn[f"{side}id"]
    if f"{side}subnet" in conn:
        found["networks"] = [word.strip() for word in conn[f"{side}subnet"].split(",")]
    else:
        found["networks"] = [f"{address}/32"]
    return found


def _algorithms(
    name: str, conn: Mapping[str, str], notes: list[str]
) -> Iterator[tuple[str, object]]:
    for key, ours, esp in (("ike", "proposals", False), ("esp", "esp_proposals", True)):
        text = conn.get(key) or (conn.get("phase2alg") if esp else None)
        if text is None:
            notes.append(f"{name}: no {key}=: our defaults apply, not those of ipsec.conf")
            continue
        strict = text.endswith("!")
        chosen = [proposals.canonical(word) for word in text.removesuffix("!").split(",")]
        yield ours, chosen
        if strict:
            notes.append(f"{name}: {key}: `!` is gone, because swanctl is always strict")
        else:
            notes.append(
                f"{name}: {key}: without `!` the old daemon took its defaults too; only"
                f" {', '.join(chosen)} will be taken now"
            )
        if esp and not proposals.forward_secret(chosen):
            notes.append(
                f"{name}: esp: no key exchange, so no forward secrecy when children are renewed, as"
                " before; add -modp2048 if the far side has it (PFS)"
            )
        for word in chosen:
            for what, do in proposals.problems(word, esp=esp, allow_weak=False):
                notes.append(f"{name}: {key}: {word}: {what}; {do}")


def _times(conn: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    for keys, ours in (
        (("ikelifetime",), "rekey_s"), (("lifetime", "keylife"), "child_rekey_s"),
        (("dpddelay",), "dpd_delay_s"),
    ):  # fmt: skip
        for key in keys:
            if key in conn:
                yield ours, seconds(conn[key])
    if conn.get("forceencaps") == "yes":
        yield "encapsulate", True


def seconds(text: str) -> int:
    """`3h`, `60m`, `28800s` or `28800` in seconds; UsageError for anything else."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    if not found:
        raise UsageError(f"no time: {text!r}; write it as 3600s, 60m or 1h")
    return int(found.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found.group(2)]


def _meanings(name: str, conn: Mapping[str, str]) -> Iterator[str]:
    """What the remaining keywords meant, and what happens now."""
    starts = {
        "start": "a timer and traffic establish the link again, not the daemon's start alone",
        "route": "as before, traffic establishes the link; a timer does so too",
        "add": "the old daemon only answered; this link is established at once",
        "ignore": "the old daemon ignored it; leave it out if it is not wanted",
    }
    auto = conn.get("auto", "ignore")
    yield f"{name}: auto={auto}: {starts.get(auto, 'not known; it is established at once')}"
    if conn.get("keyingtries", "3") not in {"%forever", "0"}:
        yield f"{name}: keyingtries: the side that begins never gives up"
    if "dpdaction" in conn or "dpddelay" not in conn:
        yield f"{name}: a dead peer is noticed (dpd_delay_s) and the link is made again"
    if conn.get("keyexchange", "ike") not in {"ike", "ikev2"}:
        yield f"{name}: keyexchange={conn['keyexchange']}: only IKEv2 is spoken here"
    handled = {
        "left", "right", "leftid", "rightid", "leftsubnet", "rightsubnet", "authby", "leftauth",
        "rightauth", "ike", "esp", "phase2alg", "ikelifetime", "lifetime", "keylife", "dpddelay",
        "dpdaction", "forceencaps", "auto", "keyingtries", "keyexchange", "also",
    }  # fmt: skip
    for key, value in conn.items():
        if key not in handled and _SILENT.get(key) != value:
            yield f"{name}: {key}={value} is not translated; see docs/ipsec.md"
