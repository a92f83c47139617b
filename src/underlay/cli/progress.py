"""What runs at this moment, for a person who waits.

The rule: nothing within two seconds, one line that changes on a terminal after them, and nothing at
all in a pipe; standard output stays the command's own.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import click

#: Seconds of silence that a person can bear.
SILENT = 2.0


class Progress:
    """Which step runs, on standard error: `step done/total`, until the block of it ends.

    began: of the work, in seconds of time.monotonic(), now when it is None.
    """

    def __init__(self, began: float | None = None) -> None:
        self._began = time.monotonic() if began is None else began
        self._terminal = sys.stderr.isatty()
        self._told = ""
        self._shown = 0
        self._waiting: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Tell a step; one that begins in time and lasts is shown when the time is over."""
        if not self._terminal:
            return
        self._told = f"{step} {done}/{total}"
        left = self._began + SILENT - time.monotonic()
        if left < 0:
            self._line(self._told)
        elif self._waiting is None:
            # by now pyinfra, which brings it, was imported; help texts do without
            import gevent

            self._waiting = gevent.spawn_later(left, lambda: self._line(self._told))

    def end(self) -> None:
        """Clear the line for what follows."""
        if self._waiting is not None:
            self._waiting.kill(block=False)
        if self._shown:
            self._line("")
            click.echo("\r", nl=False, err=True)
            self._shown = 0

    def _line(self, told: str) -> None:
        # over the line before by spaces: without colour, click takes escape sequences out
        click.echo(f"\r{told:<{self._shown}}", nl=False, err=True)
        self._shown = len(told)
