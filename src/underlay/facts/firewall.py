"""Firewalls on a host: our own rules, and base chains of others that drop what they do not name.

The rule: every base chain of a hook has to let a packet pass, so an accept of ours says nothing
about what a chain of somebody else does with it. Parsing is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: Before the name of each of our nft tables.
OURS = "underlay-wireguard-"

#: Our chains and the policies, in iptables where it is there, else in nft.
READING = (
    "if command -v iptables >/dev/null; then"
    " iptables -w -S | grep -E '^-P|-j UNDERLAY-|^-A UNDERLAY-';"
    " elif command -v nft >/dev/null; then nft list ruleset; fi"
)

#: The same for IPv6, where only the port that others call is of interest.
READING_V6 = "ip6tables -w -S INPUT | grep UNDERLAY-; ip6tables -w -S | grep -E '^-A UNDERLAY-'"

# a whole ruleset has thousands of lines on a node: only tables with such a chain are read
READING_WALLS = r"""nft list chains | while read -r line; do set -- $line
case $1 in table) f=$2 t=$3 ;; chain) c=$2 ;; type)
case $line in *'hook input '*) h=input ;; *'hook forward '*) h=forward ;; *) continue ;; esac
case $line in *'policy drop'*) ;; *) [ "$t" = firewalld ] || continue ;; esac
echo "wall $f $t $c $h"
nft list table "$f" "$t" | grep -E 'dport|iif' | head -200 ;; esac; done
if command -v firewall-cmd >/dev/null; then echo "ports $(firewall-cmd --list-ports)"
echo "trusted $(firewall-cmd --zone=trusted --list-interfaces)"; fi"""


@dataclass(frozen=True)
class Wall:
    """A base chain of somebody else that drops what it does not name.

    hook: `input` or `forward`; accepts: the words of its table's accepts of ports and interfaces.
    """

    family: str
    table: str
    chain: str
    hook: str
    accepts: tuple[frozenset[str], ...] = ()

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.chain}"

    @property
    def firewalld(self) -> bool:
        """Whether firewalld keeps it, and takes its orders through firewall-cmd only."""
        return self.table == "firewalld"

    def names(self, word: str) -> bool:
        """Whether an accept there names a port or an interface."""
        return any(word in words for words in self.accepts)


def rules(lines: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Our rules by interface, in order of their names, and the hooks whose policy is drop."""
    jumps, chains, drops = set(), set(), set()
    table = ""
    for line in lines:
        words = line.split()
        if words[:1] == ["-P"] and words[2:] == ["DROP"]:
            drops.add(words[1].lower())
        elif words[:1] == ["-A"] and words[-1].startswith("UNDERLAY-"):
            jumps.add(words[-1])
        elif words[:1] == ["-A"]:
            chains.add(words[1])
        elif words[:1] == ["table"]:
            table = words[2]
        elif words[:1] == ["chain"] and table.startswith(OURS):
            name = f"UNDERLAY-{words[1][0].upper()}-{table.removeprefix(OURS)}"
            jumps.add(name)
            chains.add(name)
        elif "policy drop" in line and "hook" in words:
            drops.add(words[words.index("hook") + 1])
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(jumps & chains):
        hook = {"F": "forward", "I": "input"}[name.split("-")[1]]
        device = name.split("-", 2)[2]
        found[device] = (*found.get(device, ()), hook)
    return found, frozenset(drops)


def walls(lines: Iterable[str], *, iptables: bool) -> tuple[Wall, ...]:
    """Chains of others. iptables: our accepts stand in its tables, which are no others then."""
    return tuple(wall for wall in _walls(list(lines)) if not (iptables and _of_iptables(wall)))


def _walls(lines: list[str]) -> Iterator[Wall]:
    # firewalld says what it lets pass in words of its own
    zones = [line.split()[1:] for line in lines if line.split()[:1] in (["ports"], ["trusted"])]
    opened = tuple(frozenset(word.removesuffix("/udp") for word in words) for words in zones)
    heads = [number for number, line in enumerate(lines) if line.startswith("wall ")]
    for head, end in zip(heads, [*heads[1:], len(lines)], strict=False):
        family, table, chain, hook = lines[head].split()[1:]
        accepts = tuple(
            frozenset(line.replace(",", " ").replace('"', " ").split())
            for line in lines[head + 1 : end]
            if "accept" in line
        )
        if not table.startswith(OURS):
            known = opened if table == "firewalld" else accepts
            yield Wall(family, table, chain, hook, known)


def _of_iptables(wall: Wall) -> bool:
    return wall.family in {"ip", "ip6"} and wall.table == "filter" and wall.chain.isupper()
