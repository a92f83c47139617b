"""Shell text that writes whole files of ours on a host. Never for secrets: the text is in argv.

The rule: a file is complete or absent. It is written beside its place and renamed, and synced so
that a power cut cannot leave an empty one.
"""

from __future__ import annotations

import posixpath
import shlex

from underlay import journal


def write_file(path: str, text: str, mode: str = "0644") -> str:
    """Write `text` to `path` atomically, folders included; mode is octal text."""
    folder = posixpath.dirname(path)
    new = shlex.quote(beside(path))
    return (
        f"mkdir -p {shlex.quote(folder)} && printf %s {shlex.quote(text)} > {new}"
        f" && chmod {shlex.quote(mode)} {new} && sync {new} && mv -f {new} {shlex.quote(path)}"
    )


def beside(path: str) -> str:
    """Where a file is written before it takes its place; a power cut may leave it there."""
    folder, name = posixpath.split(path)
    return f"{folder}/.{name}.new"


def remove_file(path: str) -> str:
    """Remove a file of ours; a missing one is fine."""
    return f"rm -f {shlex.quote(path)}"


def append_entry(change: str, entry: journal.Entry) -> str:
    """Append one journal entry and sync it; a line cut short by a crash is dropped first."""
    target = shlex.quote(journal.path(change))
    folder = shlex.quote(journal.directory(change))
    close = f"[ ! -s {target} ] || [ -z \"$(tail -c 1 {target})\" ] || sed -i '$d' {target}"
    return (
        f"mkdir -p -m 0700 {folder} && {{ {close}; }}"
        f" && printf '%s\\n' {shlex.quote(entry.line())} >> {target} && sync {target}"
    )
