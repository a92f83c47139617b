"""All advice for a situation, as text for people and as plain data for programs. Pure."""

from __future__ import annotations

import pprint
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from underlay.advice import cni, proxy_mode, sizes
from underlay.advice.knowledge import AS_OF
from underlay.advice.model import Advice, Situation

WIDTH = 100


def advise(found: Situation) -> tuple[Advice, ...]:
    """Every choice, in the order in which they depend on each other."""
    network = cni.advise(found)
    chosen: Mapping[str, Any] = network.settings["network"]
    bgp = found.bgp or bool(chosen.get("bgp"))
    return (
        network,
        cni.mtu(found, network.choose, str(chosen["encapsulation"])),
        *sizes.reflectors(found, network.choose, bgp),
        proxy_mode.advise(found),
        *sizes.neighbours(found),
    )


Given = Mapping[str, Mapping[str, Any]]


def merged(advice: Sequence[Advice], given: Given) -> dict[str, dict[str, Any]]:
    """Section -> values of all advice, over what the inventory gives of that section.

    A section in group_data is replaced as a whole, so what is pasted must hold all of it.
    """
    found: dict[str, dict[str, Any]] = {}
    for each in advice:
        for section, values in each.settings.items():
            found.setdefault(section, dict(given.get(section, {}))).update(values)
    return found


def as_data(
    found: Situation, advice: Sequence[Advice], inventory: str, given: Given
) -> dict[str, Any]:
    """As docs/schemas/advice.json says."""
    return {
        "version": 1,
        "inventory": inventory,
        "as_of": AS_OF,
        "situation": {
            "nodes": found.nodes, "services": found.services,
            "kubernetes": _dotted(found.kubernetes), "kernel": _dotted(found.kernel),
            "proxy_mode": found.mode, "cni": found.cni,
            "needs": sorted(need.value for need in found.needs), "notes": list(found.notes),
        },
        "advice": [
            {
                "id": each.id, "title": each.title, "verdict": each.verdict.value,
                "now": each.now or None, "choose": each.choose, "why": list(each.why),
                "against": list(each.against),
                "sources": [{"title": s.title, "where": s.where} for s in each.sources],
                "settings": dict(each.settings),
                "groups": {name: list(names) for name, names in each.groups.items()},
            }
            for each in advice
        ],
        "settings": merged(advice, given),
    }  # fmt: skip


def _dotted(version: tuple[int, int] | None) -> str | None:
    return None if version is None else f"{version[0]}.{version[1]}"


def as_text(
    found: Situation, advice: Sequence[Advice], inventory: str, given: Given, width: int
) -> str:
    """For people. width: columns, at most 100 are used."""
    wide = max(40, min(width, WIDTH))
    lines = _wrapped("", "  ", f"{inventory}: {_known(found)}", wide)
    for note in found.notes:
        lines += _wrapped("note: ", "      ", note, wide)
    for each in advice:
        lines += ["", *_one(each, wide)]
    paste = merged(advice, given)
    lines += ["", "To paste into group_data/all.py, in place of these sections:", ""]
    for section, values in paste.items():
        text = pprint.pformat(values, width=wide - 8, sort_dicts=False)
        lines += [f"{section} = {text}"]
    groups = {name: names for each in advice for name, names in each.groups.items()}
    if groups:
        lines += ["", "To paste into the inventory:", ""]
        lines += [f"{name} = {list(names)!r}" for name, names in groups.items()]
    lines += ["", f"Sources as of {AS_OF}; docs/advise.md says how it decides."]
    return "\n".join(lines) + "\n"


def _known(found: Situation) -> str:
    parts = [
        f"{found.nodes} nodes",
        "Services not counted" if found.services is None else f"{found.services} Services",
        f"Kubernetes {_dotted(found.kubernetes) or 'not known'}",
        f"oldest kernel {_dotted(found.kernel) or 'not known'}",
    ]
    needs = ", ".join(sorted(need.value for need in found.needs))
    return ", ".join(parts) + (f"; needs {needs}" if needs else "")


def _one(each: Advice, wide: int) -> Iterator[str]:
    now = f" (now {each.now})" if each.now and each.now != each.choose else ""
    yield f"{each.title}: {each.verdict.value} {each.choose}{now}"
    for reason in each.why:
        yield from _wrapped("  ", "  ", reason, wide)
    for text in each.against:
        yield from _wrapped("  but: ", "       ", text, wide)
    for source in each.sources:
        yield from _wrapped("  source: ", "          ", f"{source.title} ({source.where})", wide)


def _wrapped(first: str, rest: str, text: str, wide: int) -> list[str]:
    return textwrap.wrap(
        text, wide, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
