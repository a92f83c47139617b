"""A check as an operation: nothing to do when it passes, one clean host error when it fails."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import FunctionCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from underlay.operations.outcome import fail


@operation()
def passes(passed: int, problems: Sequence[str]) -> Generator[FunctionCommand, None, None]:
    """
    End this host's run when there is a problem, telling all of them.

    + passed: how many checks said nothing bad
    + problems: one sentence each, with what to do
    """
    if not problems:
        host.noop(f"{passed} checks pass")
        return
    yield from fail(*problems)
