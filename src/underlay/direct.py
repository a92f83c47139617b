"""Commands that a step runs by itself, as the user that the run becomes.

The rule: nothing else calls `run_shell_command`. pyinfra passes `_sudo`, `_su_user` and the like on
to the commands that an operation yields and to facts, but not to what a function of it runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.connectors.util import CommandOutput

#: What a command reads: one text, or lines.
Input = str | Sequence[str]


def run(host: Host, script: str, stdin: Input | None = None) -> tuple[bool, CommandOutput]:
    """Run a script with `sh`; whether it ended well, and what it printed.

    The output is shown at no verbosity. stdin: for secrets, which no process list shows then.
    """
    command = StringCommand("sh", "-c", shlex.quote(script))
    return host.run_shell_command(command, **{**arguments(host), "_stdin": stdin})


def run_words(host: Host, *words: str, stdin: Input | None = None) -> tuple[bool, CommandOutput]:
    """The same for one program and its arguments, each of them one word."""
    command = StringCommand(*(QuoteString(word) for word in words))
    return host.run_shell_command(command, **{**arguments(host), "_stdin": stdin})


def arguments(host: Host) -> dict[str, Any]:
    """What the connector is told for this host, in pyinfra's own order.

    From the operation that is run, else from the deploy, the host's data, and the configuration.
    """
    current: Any = host.current_op_global_arguments
    found, _ = pop_global_arguments(host.state, host, dict(current or {}))
    return {key: value for key, value in found.items() if key in CONNECTOR_ARGUMENT_KEYS}
