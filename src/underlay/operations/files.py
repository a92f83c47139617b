"""Shell text that writes whole files of ours on a host. Never for secrets: the text is in argv.

The rule: a file is complete or absent. It is written beside its place and renamed, and synced so
that a power cut cannot leave an empty one.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping

from underlay import journal


def write_file(path: str, text: str, mode: str = "0644") -> str:
    """Write `text` to `path` atomically, folders included; mode is octal text.

    When it cannot be written, nothing is left of it and the shell ends with 1 and a sentence.
    """
    return "\n".join(write_files({path: (text, mode)}))


def write_files(files: Mapping[str, tuple[str, str]]) -> list[str]:
    """Write several, all or none: path -> text and mode. One line of shell for each step."""
    return [*stage_files(files), *(place_file(path) for path in files)]


def stage_files(files: Mapping[str, tuple[str, str]]) -> list[str]:
    """The texts beside their places, where a full disk or a read-only one is met."""
    back = f"rm -f {' '.join(shlex.quote(beside(path)) for path in files)}"
    return [_stage(path, text, mode, back) for path, (text, mode) in files.items()]


def room(folder: str) -> str:
    """Shell text that ends with 1 and a sentence where a folder takes no more of a file.

    For what must be started before its files are written: nothing is done on a full disk then.
    """
    new = shlex.quote(beside(f"{folder}/underlay"))
    steps = f"head -c 4096 /dev/zero > {new} && sync {new} && rm -f {new}"
    return _or_end(steps, folder, f"rm -f {new}")


def place_file(path: str) -> str:
    """Let what was staged for a path take its place."""
    return f"mv -f {shlex.quote(beside(path))} {shlex.quote(path)}"


def _stage(path: str, text: str, mode: str, back: str) -> str:
    new = shlex.quote(beside(path))
    folder = shlex.quote(posixpath.dirname(path))
    steps = (
        f"mkdir -p {folder} && printf %s {shlex.quote(text)} > {new}"
        f" && chmod {shlex.quote(mode)} {new} && sync {new}"
    )
    return _or_end(steps, path, back)


def _or_end(steps: str, path: str, back: str = "") -> str:
    """Shell text whose failure ends the script with a sentence about a path."""
    told = f"{path}: cannot be written; make room on its file system, or mount it writable"
    undo = f"{back} 2>/dev/null; " if back else ""
    return f"{{ {{ {steps}; }} || {{ {undo}echo {shlex.quote(told)} >&2; exit 1; }}; }}"


def beside(path: str) -> str:
    """Where a file is written before it takes its place; a power cut may leave it there."""
    folder, name = posixpath.split(path)
    return f"{folder}/.{name}.new"


def remove_file(path: str) -> str:
    """Remove a file of ours, and what a power cut left beside it; a missing one is fine."""
    return f"rm -f {shlex.quote(path)} {shlex.quote(beside(path))}"


def append_entry(change: str, entry: journal.Entry) -> str:
    """Append one journal entry and sync it; a line cut short by a crash is dropped first."""
    target = shlex.quote(journal.path(change))
    folder = shlex.quote(journal.directory(change))
    close = f"[ ! -s {target} ] || [ -z \"$(tail -c 1 {target})\" ] || sed -i '$d' {target}"
    steps = (
        f"mkdir -p -m 0700 {folder} && {{ {close}; }}"
        f" && printf '%s\\n' {shlex.quote(entry.line())} >> {target} && sync {target}"
    )
    return _or_end(steps, journal.path(change))
