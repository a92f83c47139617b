"""A floor under a kernel setting: what a minimum makes of a value that is there. Pure.

The rule: nothing that is more than the floor is taken away. What "more" is depends on the key: each
number of a row of numbers by itself, the wider range of ports, all the ports of a set.
"""

from __future__ import annotations

#: Two numbers, the first and the last of a range: a wider one starts lower (ip-sysctl.rst).
RANGES = frozenset({"net.ipv4.ip_local_port_range"})

#: Ports and ranges of them between commas (ip-sysctl.rst).
SETS = frozenset({"net.ipv4.ip_local_reserved_ports"})


def raised(key: str, live: str, floor: str) -> str:
    """The least value with all of `floor` and all of `live`; the floor where they do not compare.

    Both as the kernel shows them, one blank between numbers; so is the result.
    """
    try:
        if key in SETS:
            return _ports(_members(live) | _members(floor))
        now, least = [[int(word) for word in value.split()] for value in (live, floor)]
    except ValueError:
        return floor
    if len(now) != len(least):
        return floor
    pairs = list(zip(now, least, strict=True))
    if key in RANGES and len(pairs) == 2:
        return f"{min(pairs[0])} {max(pairs[1])}"
    return " ".join(str(max(pair)) for pair in pairs)


def reached(key: str, live: str, floor: str) -> bool:
    """Whether a value has all of the floor."""
    return raised(key, live, floor) == live


def _members(text: str) -> set[int]:
    found: set[int] = set()
    for word in filter(None, text.split(",")):
        first, _, last = word.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _ports(found: set[int]) -> str:
    """As the kernel shows a bitmap: ascending, neighbours as one range."""
    ordered = sorted(found)
    firsts = [port for port in ordered if port - 1 not in found]
    lasts = [port for port in ordered if port + 1 not in found]
    return ",".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in zip(firsts, lasts, strict=True)
    )
