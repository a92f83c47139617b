"""Only one controller at a time: a Lease object (coordination.k8s.io/v1) held while a run changes.

The rule: a lease that its holder no longer renews is free after `SECONDS`; one held by a process of
this computer that has ended is free at once.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from underlay.cluster.api import Api, Object
from underlay.cluster.objects import LEASE
from underlay.errors import ClusterError

#: How long a lease holds after it was renewed for the last time, and how often it is.
SECONDS, EVERY = 60, 15


class Lease:
    """One lease.

    holder: `computer/pid` of this process unless given; what: is changed under it, for messages.
    """

    def __init__(
        self, api: Api, name: str, namespace: str, holder: str = "", what: str = "kube-proxy"
    ) -> None:
        self._api = api
        self._name = name
        self._namespace = namespace
        self._what = what
        self.holder = holder or f"{socket.gethostname()}/{os.getpid()}"
        self._ended = threading.Event()

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
            renewed = spec.get("renewTime")
            now = time.monotonic()
            if seen is None:
                tell(f"{spec['holderIdentity']} has changed {self._what} here; waiting for its end")
                seen = (renewed, now)
            elif renewed != seen[0]:
                return (
                    f"{spec['holderIdentity']} is changing {self._what} of this cluster right now;"
                    " wait until it has ended"
                )
            elif now - seen[1] > SECONDS:
                self._take(current)
                break
            time.sleep(2)
        threading.Thread(target=self._renew, daemon=True).start()
        return ""

    def release(self, *, keep: bool = False) -> None:
        """Give the lease back; one that cannot be deleted runs out by itself.

        keep: let it run out, as a sign for the next run that this one left something open.
        """
        self._ended.set()
        if keep:
            return
        with suppress(ClusterError):
            self._api.delete(LEASE, self._name, self._namespace)

    def _is_free(self, spec: Object) -> bool:
        holder = str(spec.get("holderIdentity") or "")
        computer, _, pid = holder.partition("/")
        if not holder or holder == self.holder:
            return True
        return (
            computer == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists()
        )

    def _create(self) -> None:
        meta = {"name": self._name, "namespace": self._namespace}
        lease = {"apiVersion": LEASE.version, "kind": LEASE.name, "metadata": meta}
        self._api.create(LEASE, {**lease, "spec": self._spec()}, self._namespace)

    def _take(self, current: Object) -> None:
        meta = {"resourceVersion": current["metadata"]["resourceVersion"]}
        change = {"metadata": meta, "spec": self._spec()}
        self._api.merge(LEASE, self._name, change, self._namespace)

    def _renew(self) -> None:
        while not self._ended.wait(EVERY):
            with suppress(ClusterError):
                self._api.merge(LEASE, self._name, {"spec": self._spec()}, self._namespace)

    def _spec(self) -> Object:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self.holder, "leaseDurationSeconds": SECONDS, "renewTime": now,
        }  # fmt: skip
