"""What a terminal is told: rows as wide as it is, colour only where it is wanted."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap

import click

#: Columns where nobody says how many.
WIDTH = 100


def columns() -> int:
    """Width of standard output; of what is read later where it is no terminal."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH


def say(row: str) -> None:
    """One row, wrapped below itself on a terminal that is too narrow; a pipe gets it whole."""
    if not sys.stdout.isatty() or len(row) <= columns():
        click.echo(row)
        return
    indent = " " * (len(row) - len(row.lstrip()))
    for line in textwrap.wrap(
        row, columns(), initial_indent="", subsequent_indent=f"{indent}    ", break_on_hyphens=False
    ):
        click.echo(line)


def colour() -> bool | None:
    """False where NO_COLOR is set (no-color.org) or the terminal is dumb; None: as click does."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return False if plain else None
