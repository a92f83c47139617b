"""What the exit code of every `underlay` command means."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line and of underlay's deploys."""

    PASSED = 0
    ERROR = 1
    USAGE = 2
    CHECKS_FAILED = 3
    WARNINGS = 4
    UNREACHABLE = 5
