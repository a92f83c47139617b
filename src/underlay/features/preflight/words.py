"""How findings speak of nodes, pairs and verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterable

LISTED = 4

#: What became of a probe, to be put behind who and what.
VERDICTS = {
    "refused": "refused on the way although it listens there: a firewall rejects it",
    "timeout": "no answer, and nothing arrived: dropped on the way",
    "prohibited": "a firewall answers that it is prohibited",
    "unreachable": "no route to it",
    "reply-lost": "it arrived, but the reply was lost on the way back",
    "closed": "connected, but what answered is not the listener: a proxy is in between",
    "altered": "what came back is not what was sent",
    "error": "it could not be sent",
}


def listed(names: Iterable[str], limit: int = LISTED) -> str:
    """`w1, w2 and 3 more`."""
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(found[:limit]) + more


def counted(number: int, singular: str, plural: str = "") -> str:
    """`1 pair`, `3 pairs`."""
    return f"{number} {singular}" if number == 1 else f"{number} {plural or singular + 's'}"
