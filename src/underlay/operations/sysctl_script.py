"""The shell text that changes the kernel settings of one host, made from a plan.

The rule: journal, file beside its place, live values, file; whatever fails puts back what was
written before it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from underlay import journal
from underlay.facts.sysctl import KernelSettings, proc_path
from underlay.operations import outcome
from underlay.operations.files import append_entry, beside, place_file, remove_file, stage_files

PATH = "/etc/sysctl.d/90-underlay.conf"
CHANGE = "sysctl"


@dataclass(frozen=True)
class Plan:
    """What to do on one host: `live` are writes in order, `text` our file (None for none)."""

    text: str | None
    rewrite: bool
    live: tuple[tuple[str, str], ...]
    previous: Mapping[str, str]
    restored: tuple[str, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the host is as wanted already."""
        return not (self.rewrite or self.live)


def script(steps: Plan, found: KernelSettings) -> str:
    """One shell text: journal, file beside its place, live values, file.

    A file that cannot be written is met before the first value is; any refusal puts back what was
    written.
    """
    # in the same order: what resets others comes first on the way back too
    back = [_write(key, found.values[key]) + " 2>/dev/null || :" for key, _ in steps.live]
    staged: list[str] = []
    if steps.rewrite and steps.text is not None:
        staged = stage_files({PATH: (steps.text, "0644")})
        back.append(f"rm -f {shlex.quote(beside(PATH))}")
    lines = [
        "set -e",
        f"undo() {{ {'; '.join(back) or ':'}; }}",
        _entry("previous", dict(steps.previous)),
        *staged,
    ]
    for key, value in steps.live:
        refused = f"sysctl {key}: the kernel refused {value!r}; correct it in the inventory"
        lines.append(
            f"{_write(key, value)} 2>/dev/null ||"
            f" {{ undo; echo {shlex.quote(refused)} >&2; exit 1; }}"
        )
    lines += _confirm(steps.live)
    if steps.rewrite:
        lines.append(remove_file(PATH) if steps.text is None else place_file(PATH))
    # after the fact: a run cut short before this line gives them back again
    lines.append(_entry("restored", list(steps.restored)))
    return "\n".join(line for line in lines if line)


def _entry(event: str, found: dict[str, str] | list[str]) -> str:
    if not found:
        return ""
    return append_entry(CHANGE, journal.Entry(outcome.now(), outcome.RUN, event, {event: found}))


def _write(key: str, value: str) -> str:
    return f"printf '%s\\n' {shlex.quote(value)} > {shlex.quote(proc_path(key))}"


def _confirm(live: Sequence[tuple[str, str]]) -> list[str]:
    """Some keys take a value and make another of it; that is a refusal too."""
    if not live:
        return []
    paths = " ".join(shlex.quote(proc_path(key)) for key, _ in live)
    lines = ["nl='\n'", f"got=\"$nl$(grep -sH '' {paths} | tr -s '\\t ' '  ')$nl\""]
    for key, value in live:
        other = f"sysctl {key}: the kernel made another value of {value!r}; write the one it keeps"
        lines.append(
            f'case "$got" in *"$nl"{shlex.quote(f"{proc_path(key)}:{value}")}"$nl"*) ;;'
            f" *) undo; echo {shlex.quote(other)} >&2; exit 1 ;; esac"
        )
    return lines
