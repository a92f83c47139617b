"""Only one controller at a time: a Lease object (coordination.k8s.io/v1) held while a run changes.

The rule: a lease that its holder no longer renews is free after `SECONDS`; one whose holder is seen
to have ended is free at once. So a holder that was silent for as long must not change anything
more, unless the object still names it: then nobody took it meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

from underlay.cluster.api import Api, Object
from underlay.cluster.holder import called, has_ended, myself
from underlay.cluster.objects import LEASE
from underlay.errors import ClusterError, LeaseLostError

#: How long a lease holds after it was renewed for the last time, and how often it is.
SECONDS, EVERY = 60, 15


class Lease:
    """One lease.

    holder: this process unless given (`cluster.holder`); what: is changed under it, for messages.
    """

    def __init__(
        self, api: Api, name: str, namespace: str, holder: str = "", what: str = "kube-proxy"
    ) -> None:
        self._api = api
        self._name = name
        self._namespace = namespace
        self._what = what
        self.holder = holder or myself()
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._version, self._uid = "", ""
        self._renewed = 0.0
        self._lost = ""

    def acquire(self, tell: Callable[[str], None]) -> str:
        """Take the lease and keep it; "" or who has it.

        A lease of a holder that is silent is waited for until it has run out.
        """
        seen: tuple[object, float] | None = None
        while True:
            current = self._api.find(LEASE, self._name, self._namespace)
            if current is None:
                self._create()
                break
            spec = current.get("spec") or {}
            if self._is_free(spec):
                self._take(current)
                break
            renewed, who = spec.get("renewTime"), called(str(spec["holderIdentity"]))
            now = time.monotonic()
            if seen is None:
                tell(f"{who} has changed {self._what} here; waiting for its end")
                seen = (renewed, now)
            elif renewed != seen[0]:
                return (
                    f"{who} is changing {self._what} of this cluster right now; wait until it has"
                    " ended"
                )
            elif now - seen[1] > SECONDS:
                self._take(current)
                break
            time.sleep(2)
        threading.Thread(target=self._keep, daemon=True).start()
        return ""

    def hold(self) -> None:
        """Return while this run may change something; LeaseLostError when it may no more.

        A lease that could not be renewed in time is renewed now; ClusterError when it still cannot.
        """
        with self._writing:
            if not self._lost and _now() - self._renewed > SECONDS:
                self._renew()
            if self._lost:
                raise LeaseLostError(self._lost)

    def release(self, *, keep: bool = False) -> None:
        """Give the lease back, if it is still ours; one that cannot be deleted runs out.

        keep: let it run out, as a sign for the next run that this one left something open.
        """
        self._ended.set()
        if keep:
            return
        with self._writing, suppress(ClusterError):
            if not self._lost:
                self._api.delete(
                    LEASE, self._name, self._namespace, uid=self._uid, version=self._version
                )

    def _is_free(self, spec: Object) -> bool:
        holder = str(spec.get("holderIdentity") or "")
        return not holder or holder == self.holder or has_ended(holder)

    def _create(self) -> None:
        meta = {"name": self._name, "namespace": self._namespace}
        lease = {"apiVersion": LEASE.version, "kind": LEASE.name, "metadata": meta}
        began = _now()
        made = self._api.create(LEASE, {**lease, "spec": self._spec()}, self._namespace)
        self._written(made, began)

    def _take(self, current: Object) -> None:
        meta = {"resourceVersion": current["metadata"]["resourceVersion"]}
        change = {"metadata": meta, "spec": self._spec()}
        # the others count from when they see it, which is after this moment
        began = _now()
        self._written(self._api.merge(LEASE, self._name, change, self._namespace), began)

    def _written(self, found: Object, began: float) -> None:
        meta = found["metadata"]
        self._version, self._uid = str(meta["resourceVersion"]), str(meta.get("uid", ""))
        self._renewed = began

    def _keep(self) -> None:
        while not self._ended.wait(EVERY):
            with self._writing, suppress(ClusterError):
                if not self._lost and not self._ended.is_set():
                    self._renew()

    def _renew(self) -> None:
        """Write it again over what we wrote last; what is another's by now is lost for ever."""
        current = self._api.find(LEASE, self._name, self._namespace)
        holder = str((current.get("spec") or {}).get("holderIdentity") or "") if current else ""
        if current is None or holder != self.holder:
            who = f"{called(holder)} took" if holder else "somebody gave away"
            self._lost = (
                f"{who} the lease {self._namespace}/{self._name}, so this run changes {self._what}"
                " no further; wait until no other run is at work, look at what it did, then run"
                " this one again"
            )
            return
        self._take(current)

    def _spec(self) -> Object:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self.holder, "leaseDurationSeconds": SECONDS, "renewTime": now,
        }  # fmt: skip


def _now() -> float:
    """Seconds that go on while the computer sleeps: others count them too."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
