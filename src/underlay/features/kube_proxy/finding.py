"""One thing that a check before a migration has to say."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What was found, as one sentence with its remedy.

    id: what `kube_proxy.accept` names; refuses: the run stops unless the id is accepted.
    """

    id: str
    sentence: str
    refuses: bool = True


def refusals(found: Iterable[Finding], accepted: Collection[str]) -> list[str]:
    """The sentences that stop a run."""
    return [entry.sentence for entry in found if entry.refuses and entry.id not in accepted]


def notes(found: Iterable[Finding], accepted: Collection[str]) -> list[str]:
    """The sentences that are only told; of what was accepted, that it was."""
    return [
        f"accepted ({entry.id}): {entry.sentence}" if entry.refuses else entry.sentence
        for entry in found
        if not entry.refuses or entry.id in accepted
    ]
