"""The guide's `ipsec.conf` in the form of the inventory, and what changes in meaning. Pure.

The rule: every keyword is translated or named as not translated; what cannot be a link here is an
error that names its line. Defaults of the old form are from strongSwan's ipsec.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pprint import pformat

from underlay.errors import UsageError
from underlay.features.ipsec import legacy_end, proposals
from underlay.features.ipsec.legacy_file import Conn, File, Word, at, parse
from underlay.features.ipsec.settings import IPsec
from underlay.settings.read import read_section

#: Keywords that say what the daemon does now anyway, or that need no word of ours.
_SILENT = {
    "type": {"tunnel"}, "compress": {"no"}, "fragmentation": {"yes"}, "mobike": {"no"},
    "rekey": {"yes"}, "reauth": {"no"}, "installpolicy": {"yes"}, "pfs": {"yes"},
    "keyexchange": {"ike", "ikev2"}, "ikev2": {"yes", "insist"}, "aggressive": {"no"},
    "leftfirewall": {"yes"}, "rightfirewall": {"yes"}, "dpdaction": {"restart"},
}  # fmt: skip
#: Translated below or by `legacy_end`.
_HANDLED = {
    "authby", "leftauth", "rightauth", "ike", "esp", "phase2alg", "ikelifetime", "lifetime",
    "keylife", "salifetime", "dpddelay", "dpdaction", "forceencaps", "encapsulation", "auto",
    "keyingtries", "keyexchange", "ikev2", "type", *legacy_end.HANDLED,
}  # fmt: skip
#: Keywords by which an old connection cannot be a link here: value -> why.
_REFUSED = {
    "keyexchange": {"ikev1": "only IKEv2 is spoken here; let both sides speak it first"},
    "ikev2": dict.fromkeys(
        ("no", "never"), "only IKEv2 is spoken here; let both sides speak it first"
    ),
    "type": dict.fromkeys(
        ("transport", "transport_proxy"), "only tunnels join networks; leave it out on both sides"
    ),
}
_STARTS = {
    "start": "a timer and traffic establish the link again, not the daemon's start alone",
    "route": "as before, traffic establishes the link; a timer does so too",
    "add": "the old daemon only answered; this link is established at once",
    "ignore": "the old daemon ignored it; leave it out if it is not wanted",
}


@dataclass
class Imported:
    """The section as it would be written, and what a reader must know."""

    links: dict[str, dict[str, object]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Lines for group_data/all.py, the notes before them."""
        notes = "\n".join(f"# {note}" for note in dict.fromkeys(self.notes))
        return f"{notes}\n\nipsec = {pformat({'links': self.links}, width=90, sort_dicts=False)}\n"


def convert(text: str) -> Imported:
    """From the text of an ipsec.conf; UsageError when it holds no connection, or one that cannot
    be a link.
    """
    file = parse(text)
    found = Imported(notes=list(file.left_out))
    for name, conn in file.conns.items():
        if _serves_only(name, conn, file):
            continue
        kind = conn.get("type", Word("tunnel", 0)).value
        if kind in {"passthrough", "pass", "drop", "reject"}:
            found.notes.append(f"{name}: type={kind} is no link; see `bypass` of the others")
            continue
        _add(name, conn, file.lines[name], found)
    if not found.links:
        also = "".join(f"; {text}" for text in file.left_out if text.startswith("include"))
        raise UsageError(
            f"no `conn` that is a link in this file; give strongSwan's ipsec.conf{also}"
        )
    return found


def _serves_only(name: str, conn: Conn, file: File) -> bool:
    loaded = conn.get("auto", Word("ignore", 0)).value != "ignore"
    return name in file.base and not (loaded and {"left", "right"} <= set(conn))


def _add(name: str, conn: Conn, line: int, found: Imported) -> None:
    """One connection as a link of its own, or as a child of one between the same ends."""
    link = re.sub(r"[^a-z0-9-]", "-", name.lower())[:16].strip("-") or "link"
    notes: list[str] = []
    made = _link(link, conn, notes)
    _, problems = read_section("", {"links": {link: made}}, IPsec)
    # an address that nobody wrote down is asked for in a note
    for problem in problems:
        raise UsageError(f"line {line}: conn {name}: {problem}")
    for known, other in found.links.items():
        if legacy_end.same(made, other):
            if _rest(made) != _rest(other):
                raise UsageError(
                    f"line {line}: conn {name}: joins the same ends as {known} with other settings,"
                    " and one connection has one of each; make them the same, or write it by hand"
                )
            if link in {known, *legacy_end.children(other)}:
                break
            legacy_end.merge(other, known, made, link)
            found.notes.append(f"{name}: is a child of link {known}, which joins the same ends")
            found.notes += _news(notes, link, known, found.notes)
            return
    if any(link in {known, *legacy_end.children(other)} for known, other in found.links.items()):
        raise UsageError(f"line {line}: conn {name}: another one is named {link} here; rename it")
    if link != name:
        found.notes.append(f"{name}: is named {link} here, because names end up in chains")
    found.links[link] = made
    found.notes += notes


def _news(notes: list[str], child: str, link: str, told: list[str]) -> list[str]:
    """What was not told of the link already; it has one key."""
    return [
        note
        for note in notes
        if f"{link}: {note.removeprefix(f'{child}: ')}" not in told and "ipsec.secrets" not in note
    ]


def _rest(link: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in link.items() if key not in {"ends", "psk", "children"}}


def _link(name: str, conn: Conn, notes: list[str]) -> dict[str, object]:
    for key, values in _REFUSED.items():
        word = conn.get(key)
        if word is not None and word.value in values:
            raise at(word, f"{key}={word.value}: {values[word.value]}")
    notes.append(
        f"{name}: name the host of the inventory that is `left`: ends.left.gateway, and the nodes"
        " of its side with ends.left.nodes and ends.left.inside"
    )
    ends = {side: legacy_end.end(name, conn, side, notes) for side in ("left", "right")}
    link: dict[str, object] = {"ends": ends}
    if _by_secret(conn):
        link["psk"] = {"file": f"secrets/{name}.psk"}
        notes.append(
            f"{name}: put the key of ipsec.secrets alone into secrets/{name}.psk (mode 600), or"
            " name an env or a command"
        )
    else:
        notes.append(f"{name}: certificates: give `ca` and each end's `certificate` by hand")
    link.update(_algorithms(name, conn, notes))
    link.update(_times(name, conn, notes))
    notes += _meanings(name, conn)
    return link


def _by_secret(conn: Conn) -> bool:
    """Whether both ends prove themselves by a preshared key; certificates otherwise."""
    how = set()
    for key in ("authby", "leftauth", "rightauth"):
        word = conn.get(key)
        if word is None or (key == "authby" and {"leftauth", "rightauth"} <= set(conn)):
            continue
        if not re.fullmatch(r"secret|psk|(pubkey|rsasig|rsa|ecdsa)([-+:,].*)?", word.value):
            raise at(word, f"{key}={word.value}: a link has a preshared key or certificates")
        how.add(word.value in {"secret", "psk"})
        if len(how) == 2:
            raise at(word, f"{key}={word.value}: both ends of a link prove themselves in one way")
    return how == {True}


def _algorithms(name: str, conn: Conn, notes: list[str]) -> Iterator[tuple[str, object]]:
    for key, ours, esp in (("ike", "proposals", False), ("esp", "esp_proposals", True)):
        word = conn.get(key) or (conn.get("phase2alg") if esp else None)
        if word is None:
            notes.append(f"{name}: no {key}=: our defaults apply, not those of ipsec.conf")
            continue
        strict = word.value.endswith("!")
        texts = [text.strip() for text in word.value.removesuffix("!").split(",")]
        chosen = [proposals.canonical(text) for text in texts]
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
        for text in chosen:
            for what, do in proposals.problems(text, esp=esp, allow_weak=False):
                notes.append(f"{name}: {key}: {text}: {what}; {do}")


def _times(name: str, conn: Conn, notes: list[str]) -> Iterator[tuple[str, object]]:
    for keys, ours in (
        (("ikelifetime",), "rekey_s"), (("keylife", "salifetime", "lifetime"), "child_rekey_s"),
        (("dpddelay",), "dpd_delay_s"),
    ):  # fmt: skip
        for key in keys:
            if key in conn:
                yield ours, seconds(conn[key])
                if ours != "dpd_delay_s":
                    notes.append(
                        f"{name}: {key}: keys are renewed at that age; the old daemon did so 9"
                        " minutes before it (margintime)"
                    )
    if any(key in conn and conn[key].value == "yes" for key in ("forceencaps", "encapsulation")):
        yield "encapsulate", True


def seconds(word: Word) -> int:
    """`3h`, `60m`, `28800s` or `28800` in seconds; UsageError for anything else."""
    found = re.fullmatch(r"(\d+)([smhd]?)", word.value)
    if not found:
        raise at(word, f"no time: {word.value!r}; write it as 3600s, 60m or 1h")
    return int(found.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found.group(2)]


def _meanings(name: str, conn: Conn) -> Iterator[str]:
    """What the remaining keywords meant, and what happens now."""
    auto = conn.get("auto", Word("ignore", 0))
    if auto.value not in _STARTS:
        raise at(auto, f"auto={auto.value}: not known; use {', '.join(_STARTS)}")
    yield f"{name}: auto={auto.value}: {_STARTS[auto.value]}"
    if conn.get("keyingtries", Word("3", 0)).value not in {"%forever", "0"}:
        yield f"{name}: keyingtries: the side that begins never gives up"
    if "dpddelay" not in conn or conn.get("dpdaction", Word("none", 0)).value != "restart":
        yield f"{name}: a dead peer is noticed (dpd_delay_s) and the link is made again"
    for key, word in conn.items():
        if key not in _HANDLED and word.value not in _SILENT.get(key, set()):
            yield f"{name}: {key}={word.value} is not translated; see docs/ipsec.md"
