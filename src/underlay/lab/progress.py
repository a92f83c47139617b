"""Lines that tell a person what the lab is doing, with the seconds since it began."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

#: Says one line to the person who waits.
Say = Callable[[str], None]


def clock() -> Say:
    """A Say that puts the seconds since now before each line, on standard error."""
    started = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - started:6.1f} s] {text}", err=True)

    return say
