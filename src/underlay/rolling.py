"""Batches of hosts in inventory order, for changes that must not reach all hosts at once. Pure.

pyinfra orders operations by a graph over all hosts. A gate operation that the members of a batch
and of the batch before it add at one source line chains the batches; without it every batch would
run its first step before any batch runs its second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


def batches(hosts: Sequence[str], *, canary: int, size: int) -> tuple[tuple[str, ...], ...]:
    """`canary` hosts first, then `size` at a time, in the order given."""
    first = tuple(hosts[:canary])
    rest = hosts[canary:]
    following = [tuple(rest[start : start + size]) for start in range(0, len(rest), size)]
    return tuple(batch for batch in (first, *following) if batch)


def batch_size(share: int | str, count: int, most: int | None = None) -> int:
    """How many of `count` hosts a share (a number, or `25%`) is: rounded down, at least one."""
    size = count * int(share[:-1]) // 100 if isinstance(share, str) else share
    return max(1, min(size, most or size))


@dataclass
class Rollout:
    """What has happened in this run; shared by the operations of all hosts.

    halted: why nothing more may be switched, "" while all is well; failed: host to its sentence;
    switched: hosts in the order they were switched in this run.
    """

    halted: str = ""
    failed: dict[str, str] = field(default_factory=dict)
    switched: list[str] = field(default_factory=list)

    def fail(self, host: str, sentence: str) -> None:
        """A host failed: no further host is switched. The first reason is kept."""
        self.failed[host] = sentence
        self.halted = self.halted or f"{host}: {sentence}"
