"""The exceptions of underlay, one sentence each.

Every class carries the exit code that the command line ends with, so that no caller maps errors
to numbers a second time.
"""

from __future__ import annotations

from pyinfra.api.exceptions import DeployError

from underlay.exit_codes import ExitCode


class UnderlayError(Exception):
    """Something that a user can act on; the text says where, what, got and do."""

    exit_code = ExitCode.ERROR


class SettingsError(UnderlayError, DeployError):
    """Settings of one or more hosts are not valid; lists every problem at once."""

    exit_code = ExitCode.USAGE


class InventoryError(UnderlayError, DeployError):
    """The inventory is missing, empty, or a limit selects nobody."""

    exit_code = ExitCode.USAGE


class UsageError(UnderlayError):
    """An option or a file given on the command line cannot be used."""

    exit_code = ExitCode.USAGE


class UnreachableError(UnderlayError):
    """A host could not be reached or dropped out of the run."""

    exit_code = ExitCode.UNREACHABLE


class ClusterError(UnderlayError, DeployError):
    """The Kubernetes API could not be reached or refused what was asked."""


class ApiSilentError(ClusterError):
    """The Kubernetes API gave no answer at all; it may in a moment."""


class LeaseLostError(ClusterError):
    """Another run holds the lease of this one now, so that nothing may be changed any more."""


class MissingError(ClusterError):
    """What a request names, or its kind or namespace, does not exist."""


class ConflictError(ClusterError):
    """Somebody else owns fields that an apply would change; `owners`: (manager, field) pairs."""

    def __init__(self, what: str, owners: tuple[tuple[str, str], ...]) -> None:
        self.owners = owners
        told = "; ".join(f"{field} belongs to {manager!r}" for manager, field in owners[:5])
        more = f" and {len(owners) - 5} more" if len(owners) > 5 else ""
        super().__init__(f"{what}: {told}{more}; change it there, or name the manager in take_over")


class ManifestError(UnderlayError, DeployError):
    """A manifest of upstream could not be had, or is not the one that was checked."""


class LabError(UnderlayError):
    """A lab could not be built, started or asked."""


class RenderError(UnderlayError, DeployError):
    """A template is missing or was given too few values."""
