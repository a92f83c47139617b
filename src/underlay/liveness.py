"""A host that loses its power, or its way to us, in the middle of a command ends that command.

Without this a run waits for such a host for ever: nothing is sent while a command runs, so nobody
notices that nobody is there. Each SSH connection asks for an answer every now and then, and the
kernel ends it when the other side has acknowledged nothing for `SILENT` seconds (RFC 5482).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

#: Seconds between two signs of life, and of silence after which a host counts as lost. A way that
#: is cut for a minute is no loss.
ASK, SILENT = 15, 120


class Liveness(BaseStateCallback):
    """Watches every connection of a run."""

    @staticmethod
    def host_connect(state: State, host: Host) -> None:
        """Right after a host was connected; connectors without SSH are left alone."""
        client: Any = getattr(host.connector, "client", None)
        transport = client.get_transport() if client is not None else None
        if transport is not None:
            transport.set_keepalive(ASK)
            notice_silence(transport.sock)


class LeftOut(BaseStateCallback):
    """Tells of each host that is not reached what to do; the others go on without it."""

    @staticmethod
    def host_connect_error(state: State, host: Host, error: Exception) -> None:
        """After pyinfra has said why."""
        logger.error(
            f"{host.name}: not reached and left out; start it or repair the way to it, then run"
            " this again"
        )


class Reasons(BaseStateCallback):
    """What was said of each host that could not be connected."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    # the base class has static methods, which know of no run
    def host_connect_error(self, state: State, host: Host, error: Exception) -> None:  # type: ignore[override]
        """The first line of it."""
        lines = str(error).strip().splitlines()
        self.found[host.name] = lines[0] if lines else type(error).__name__


class Count(BaseStateCallback):
    """Tells of how many hosts it is known whether they could be connected."""

    def __init__(self, say: Callable[[int], None]) -> None:
        self._say = say
        self._known = 0

    def host_connect(self, state: State, host: Host) -> None:  # type: ignore[override]
        """One more."""
        self._known += 1
        self._say(self._known)

    def host_connect_error(self, state: State, host: Host, error: Exception) -> None:  # type: ignore[override]
        """One more, too."""
        self.host_connect(state, host)


def tell(state: State, say: Callable[[int], None]) -> None:
    """Call `say` with the number of hosts that are done with while the run connects."""
    state.add_callback_handler(Count(say))  # type: ignore[no-untyped-call]


def why_lost(state: State) -> Mapping[str, str]:
    """Host -> why it could not be connected, filled while the run connects."""
    reasons = Reasons()
    state.add_callback_handler(reasons)  # type: ignore[no-untyped-call]
    return reasons.found


def notice_silence(connection: Any) -> None:
    """Let the kernel end a TCP connection whose other side is silent; others are left alone."""
    # through a jump host it is a channel; the connection to the jump host is not ours to tune
    with suppress(AttributeError, OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT * 1000)


def watch(state: State) -> None:
    """Watch the connections that this run will make."""
    state.add_callback_handler(Liveness())  # type: ignore[no-untyped-call]


def tell_left_out(state: State) -> None:
    """Let a run say what to do about hosts that it does not reach."""
    state.add_callback_handler(LeftOut())  # type: ignore[no-untyped-call]
