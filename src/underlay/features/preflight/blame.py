"""From many failed pairs to few causes: one dead firewall is one finding, not forty. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from underlay.features.preflight.words import counted, listed


@dataclass(frozen=True)
class Item:
    """One tried pair. label: what was tried, such as `8472/udp`; bad: what went wrong, or ""."""

    source: str
    target: str
    label: str
    bad: str = ""


@dataclass(frozen=True)
class Cause:
    """What failed together. where: for people, with the number of pairs; hosts: who to look at."""

    where: str
    hosts: tuple[str, ...]
    labels: tuple[str, ...]
    bad: str


def causes(items: Sequence[Item]) -> list[Cause]:
    """The fewest statements that explain every bad item; no item is explained twice."""
    rest = [item for item in items if item.bad]
    found: list[Cause] = []
    for explain in (_dead_hosts, _dead_labels, _dead_ends):
        new = list(explain(items, rest))
        for cause, explained in new:
            found.append(cause)
            rest = [item for item in rest if item not in explained]
    return [*found, *_pairs(rest)]


Explained = tuple[Cause, frozenset[Item]]


def _dead_hosts(items: Sequence[Item], bad: Sequence[Item]) -> Iterator[Explained]:
    """Hosts that nothing reaches, or that reach nothing, on two ports or more."""
    names = list(dict.fromkeys(name for item in bad for name in (item.source, item.target)))
    seen: set[Item] = set()
    for name in names:
        ins = [item for item in items if item.target == name and item not in seen]
        outs = [item for item in items if item.source == name and item not in seen]
        dead_in, dead_out = _dead(ins), _dead(outs)
        if not (dead_in or dead_out):
            continue
        what = "is cut off: nothing comes in or goes out"
        if not dead_out:
            what = "takes in nothing"
        elif not dead_in:
            what = "gets nothing out"
        explained = [*(ins if dead_in else []), *(outs if dead_out else [])]
        seen.update(explained)
        labels = tuple(dict.fromkeys(item.label for item in explained))
        where = f"{name} {what} ({len(explained)} of {len(explained)} probes, {listed(labels)})"
        yield Cause(where, (name,), labels, _mostly(explained)), frozenset(explained)


def _dead(items: Sequence[Item]) -> bool:
    """Everything failed, and on more than one label."""
    return len({item.label for item in items}) > 1 and all(item.bad for item in items)


def _dead_labels(items: Sequence[Item], bad: Sequence[Item]) -> Iterator[Explained]:
    """What fails between all nodes."""
    for label in dict.fromkeys(item.label for item in bad):
        tried = [item for item in items if item.label == label]
        failed = [item for item in bad if item.label == label]
        if len(failed) == len(tried) > 2:
            hosts = tuple(dict.fromkeys(item.target for item in failed))
            where = f"{label} between all nodes that use it ({counted(len(failed), 'pair')})"
            yield Cause(where, hosts, (label,), _mostly(failed)), frozenset(failed)


def _dead_ends(items: Sequence[Item], bad: Sequence[Item]) -> Iterator[Explained]:
    """What fails at one node for all of its peers."""
    seen: set[Item] = set()
    for end, verb in (("target", "into"), ("source", "out of")):
        for label in dict.fromkeys(item.label for item in bad):
            for name in dict.fromkeys(getattr(i, end) for i in bad if i.label == label):
                tried = [i for i in items if i.label == label and getattr(i, end) == name]
                failed = [i for i in tried if i.bad and i in bad and i not in seen]
                if len(failed) != len(tried) or len(failed) < 2:
                    continue
                seen.update(failed)
                where = f"{label} {verb} {name} ({len(failed)} of {len(tried)} peers)"
                yield Cause(where, (name,), (label,), _mostly(failed)), frozenset(failed)


def _pairs(bad: Iterable[Item]) -> Iterator[Cause]:
    """What is left: single pairs, told together where label and verdict are the same."""
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in bad:
        groups.setdefault((item.label, item.bad), []).append(item)
    for (label, verdict), items in groups.items():
        sides = _sides({(item.source, item.target) for item in items})
        if sides is not None:
            ends, hosts = sides
            yield Cause(f"{label} {ends} ({counted(len(items), 'pair')})", hosts, (label,), verdict)
            continue
        pairs = listed((f"from {item.source} to {item.target}" for item in items), 6)
        hosts = tuple(dict.fromkeys(item.target for item in items))
        yield Cause(f"{label} {pairs}", hosts, (label,), verdict)


def _sides(pairs: set[tuple[str, str]]) -> tuple[str, tuple[str, ...]] | None:
    """Whether pairs are exactly those between two groups of nodes, as two sites are."""
    first = min(pairs)[0]
    right = sorted(target for source, target in pairs if source == first)
    left = sorted(
        {s for s, _ in pairs if s not in right and all((s, target) in pairs for target in right)}
    )
    one_way = {(a, b) for a in left for b in right}
    both_ways = one_way | {(b, a) for a, b in one_way}
    if len(pairs) < 4 or pairs not in (one_way, both_ways):
        return None
    word, joint = ("between", "and") if pairs == both_ways else ("from", "to")
    return f"{word} {listed(left)} {joint} {listed(right)}", (*left, *right)


def _mostly(items: Iterable[Item]) -> str:
    """The commonest verdict, the others counted behind it."""
    counts = Counter(item.bad for item in items)
    (first, _), *others = counts.most_common()
    more = "; ".join(f"{text} ({number})" for text, number in others)
    return f"{first}; also: {more}" if more else first
