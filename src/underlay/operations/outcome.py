"""How an operation says things to a person: fail with one sentence, note, show what changes.

The rule: an operation never raises for an expected condition, because that would end the run of
every host in the middle.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Generator
from datetime import datetime, timezone

from pyinfra import logger
from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

#: How a sentence that ends a host is shown.
ERROR = logger.error

#: One id per process, so that entries of one run can be told from another's.
RUN = f"{int(time.time()):x}"


def fail(*sentences: str) -> Generator[FunctionCommand, None, None]:
    """End this host's run; each sentence is where, what, got and do."""
    yield FunctionCommand(_report, [list(sentences)], {})


def note(host: Host, text: str) -> None:
    """Tell the person something that needs no change here."""
    host.log(text, logger.warning)


def show_change(host: Host, what: str, old: str, new: str) -> None:
    """Under `--diff`, the lines that change in a file or a list of values. Never for secrets."""
    if host.state.config.DIFF:
        show_lines(host, what, old, new)


def show_lines(host: Host, what: str, old: str, new: str) -> None:
    """The lines that change, whether or not they were asked for. Never for secrets."""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"{what} now", f"{what} wanted", lineterm="", n=1
    )
    for line in lines:
        host.log(f"  {line}")


def now() -> str:
    """The time for a journal entry: UTC, RFC 3339."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _report(state: State, host: Host, sentences: list[str]) -> bool:
    """pyinfra takes the result as success only from a function with these two parameters."""
    for sentence in sentences:
        host.log(sentence, logger.error)
    return False
