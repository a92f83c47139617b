"""Every error names the exit code the command line ends with."""

from __future__ import annotations

import pytest

from underlay import errors
from underlay.cli import run
from underlay.exit_codes import ExitCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnderlayError, ExitCode.ERROR),
        (errors.SettingsError, ExitCode.USAGE),
        (errors.InventoryError, ExitCode.USAGE),
        (errors.UnreachableError, ExitCode.UNREACHABLE),
        (errors.ClusterError, ExitCode.ERROR),
    ],
)
def test_error_carries_its_exit_code(error: type[errors.UnderlayError], code: ExitCode) -> None:
    assert error("x").exit_code is code


def test_unknown_command_is_usage() -> None:
    assert run(["no-such-command"]) == ExitCode.USAGE


def test_help_passes() -> None:
    assert run(["--help"]) == ExitCode.PASSED
