"""The grammar of strongSwan's ipsec.conf(5), and of libreswan's where they agree. Pure.

The rule: every keyword keeps the line it stands on; a keyword that neither daemon has is an error,
because it would have had no effect, or another one than its writer thought.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from underlay.errors import UsageError

#: Of one end, with `left` or `right` before them.
_OF_END = (
    "", "allowany", "auth", "auth2", "ca", "ca2", "cert", "cert2", "certpolicy", "dns", "firewall",
    "groups", "groups2", "hostaccess", "id", "id2", "ikeport", "nexthop", "protoport", "rsasigkey",
    "sendcert", "sigkey", "sourceip", "subnet", "subnets", "subnetwithin", "updown", "vti",
)  # fmt: skip
_OF_CONN = (
    "aaa_identity aggressive ah also auth authby auto closeaction compress dpdaction dpddelay"
    " dpdtimeout eap eap_identity encapsulation esp forceencaps fragmentation ike ikedscp"
    " ikelifetime ikev2 inactivity installpolicy keyexchange keyingtries keylife lifebytes"
    " lifepackets lifetime marginbytes marginpackets margintime mark mark_in mark_out me_peerid"
    " mediated_by mediation mobike modeconfig pfs pfsgroup phase2 phase2alg reauth rekey rekeyfuzz"
    " rekeymargin replay_window reqid salifetime sha256_96 tfc type vti-interface vti-routing"
    " vti-shared xauth xauth_identity"
)
KEYWORDS = frozenset(
    [*_OF_CONN.split(), *(f"{side}{word}" for side in ("left", "right") for word in _OF_END)]
)


@dataclass(frozen=True)
class Word:
    """What a keyword has, and where."""

    value: str
    line: int


Conn = dict[str, Word]


@dataclass
class File:
    """What an ipsec.conf says.

    conns: name -> keywords, with those of `%default` and `also`; lines: name -> where it begins;
    base: connections that only serve others by `also`; left_out: what is no connection.
    """

    conns: dict[str, Conn] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    base: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)


def at(word: Word, text: str) -> UsageError:
    """An error that names its line."""
    return UsageError(f"line {word.line}: {text}")


def parse(text: str) -> File:
    """An ipsec.conf; UsageError names the line that is none."""
    found = File()
    also: dict[str, list[Word]] = {}
    conn: Conn | None = None
    section = ""
    for number, line in _lines(text):
        if not line[0].isspace():
            section, conn = _header(line.split(), number, found)
        elif not section:
            raise UsageError(f"line {number}: a keyword before any section (got {line.strip()!r})")
        else:
            key, word = _keyword(line, number)
            if conn is None:
                found.left_out.append(f"{section}: {key}={word.value} is not translated")
            elif key not in KEYWORDS:
                raise at(word, _unknown(key))
            elif key == "also":
                also.setdefault(section, []).append(word)
            else:
                conn[key] = word
    default = found.conns.pop("%default", {})
    whole = {name: _with_also(name, found, also, ()) for name in found.conns}
    found.base = {word.value for words in also.values() for word in words}
    found.conns = {name: {**default, **conn} for name, conn in whole.items()}
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that say something, without comments; a `#` in quotes or in a word is none."""
    for number, raw in enumerate(text.splitlines(), start=1):
        words = re.match(r"""((?:"[^"]*(?:"|$)|[^"#]|(?<=\S)#)*)""", raw)
        line = (words.group(1) if words else raw).rstrip()
        if line.strip():
            yield number, line


def _header(words: list[str], number: int, found: File) -> tuple[str, Conn | None]:
    """The section that a line begins, and its keywords when it is a connection."""
    if words[0] == "conn" and len(words) == 2:
        found.lines.setdefault(words[1], number)
        return words[1], found.conns.setdefault(words[1], {})
    if words[0] == "include" and len(words) == 2:
        found.left_out.append(f"include {words[1]}: is not followed; import these files, too")
        return "", None
    if words[0] in {"config", "ca"} and len(words) == 2:
        return " ".join(words), None
    if words[0] == "version":
        return "", None
    raise UsageError(f"line {number}: neither section nor keyword (got {' '.join(words)!r})")


def _keyword(line: str, number: int) -> tuple[str, Word]:
    key, equals, value = line.strip().partition("=")
    if not equals:
        raise UsageError(f"line {number}: no `=` (got {line.strip()!r}); is it an ipsec.conf?")
    return key.strip().lower(), Word(value.strip().strip('"'), number)


def _unknown(key: str) -> str:
    close = difflib.get_close_matches(key, KEYWORDS, n=1)
    return f"no keyword {key!r}; " + (f"did you mean {close[0]!r}?" if close else "correct it")


def _with_also(
    name: str, found: File, also: dict[str, list[Word]], within: tuple[str, ...]
) -> Conn:
    """A connection with what it includes; its own words count before those."""
    merged: Conn = {}
    own = found.conns[name]
    for word in also.get(name, []):
        if word.value not in found.conns:
            raise at(word, f"conn {name}: also={word.value} names no connection")
        if word.value in (*within, name):
            raise at(word, f"conn {name}: also={word.value} includes itself")
        for key, value in _with_also(word.value, found, also, (*within, name)).items():
            twice = key in merged and merged[key].value != value.value
            if twice and key not in own:
                raise at(word, f"conn {name}: also gives {key} twice; write {key} into conn {name}")
            merged[key] = value
    return {**merged, **own}
