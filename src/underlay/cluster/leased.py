"""A run that changes a cluster only while it holds its lease.

The rule: every change of the API goes through `leased`, so that a run which has lost its lease
stops at the very next one, in the middle of a step too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from underlay.cluster.api import Api
from underlay.cluster.lease import Lease
from underlay.cluster.objects import LEASE
from underlay.errors import LeaseLostError
from underlay.rolling import Rollout

_CHANGES = frozenset({"apply", "replace", "merge", "create", "delete"})


@dataclass
class LeasedRun(Rollout):
    """lease: held from the first change to the end, None before and after; lost: why it is another
    run's now, "" while it is not.
    """

    lease: Lease | None = None
    lost: str = ""

    def hold(self) -> None:
        """Return when a change may be made now; ClusterError otherwise."""
        if self.lost:
            raise LeaseLostError(self.lost)
        if self.lease is None:
            return
        try:
            self.lease.hold()
        except LeaseLostError as error:
            self.lost = str(error)
            self.halted = self.halted or self.lost
            raise

    def give_back(self, *, keep: bool = False) -> None:
        """Release the lease, if there is one; keep: as a sign that something was left open."""
        if self.lease is not None:
            self.lease.release(keep=keep)
            self.lease = None


def leased(api: Api, hold: Callable[[], None]) -> Api:
    """The same API server; hold: called before every change, what it raises prevents that."""
    return cast(Api, _Leased(api, hold))


class _Leased:
    """Hands every call on; written without the verbs, so that none can be forgotten here."""

    def __init__(self, api: Api, hold: Callable[[], None]) -> None:
        self._api = api
        self._hold = hold

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._api, name)

        def held(*given: Any, **named: Any) -> Any:
            # to write the lease is to hold it
            free = named.get("dry_run") or given[0] in ("GET", LEASE)
            if not free:
                self._hold()
            return call(*given, **named)

        return held if name in _CHANGES or name == "request" else call
