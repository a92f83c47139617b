"""Take the snapshot of every host at once: one command each, read-only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gevent

from underlay.features.preflight import snapshot
from underlay.features.preflight.gather import command_output

#: Seconds for one host.
TIMEOUT = 90


def take(
    hosts: Sequence[Any], say: Callable[[str, int, int], None] = lambda step, done, of: None
) -> tuple[dict[str, dict[str, bytes]], dict[str, str]]:
    """Host -> path -> content, and host -> why it could not be taken; say: step, done, of."""
    found: dict[str, dict[str, bytes]] = {}
    failed: dict[str, str] = {}

    def one(each: Any) -> None:
        try:
            found[each.name] = snapshot.parse(command_output(each, snapshot.command(), TIMEOUT))
        except Exception as error:
            failed[each.name] = str(error).strip() or type(error).__name__
        say("reading", len(found) + len(failed), len(hosts))

    say("reading", 0, len(hosts))
    gevent.joinall([gevent.spawn(one, each) for each in hosts])
    return {each.name: found[each.name] for each in hosts if each.name in found}, failed
