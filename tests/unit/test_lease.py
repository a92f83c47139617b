"""Only one controller at a time: who may take a lease, and when."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.fake.world import Clock

from underlay.cluster import lease
from underlay.cluster.lease import SECONDS, Lease
from underlay.errors import ClusterError


class Server:
    """An API server with one lease; `renew` is called whenever somebody reads it."""

    def __init__(self, holder: str = "") -> None:
        self.spec: dict[str, Any] | None = None
        if holder:
            self.spec = {"holderIdentity": holder, "renewTime": "0"}
        self.renew: Callable[[], None] = lambda: None

    def find(self, *_: object) -> dict[str, Any] | None:
        """The lease as it is."""
        self.renew()
        if self.spec is None:
            return None
        return {"metadata": {"resourceVersion": "7"}, "spec": dict(self.spec)}

    def create(self, _: object, found: dict[str, Any], __: object) -> None:
        """Make it."""
        self.spec = found["spec"]

    def merge(self, _: object, __: object, change: dict[str, Any], ___: object) -> None:
        """Take it, or renew it."""
        self.spec = change["spec"]

    def delete(self, *_: object) -> None:
        """Give it back."""
        self.spec = None


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes only while the lease waits."""
    found = Clock()
    monkeypatch.setattr(lease, "time", found)
    return found


def take(server: Server, told: list[str] | None = None) -> tuple[Lease, str]:
    found = Lease(server, "x", "kube-system", "me/1")  # type: ignore[arg-type]
    return found, found.acquire((told if told is not None else []).append)


def test_a_lease_of_nobody_is_taken_and_given_back() -> None:
    server = Server()
    found, refused = take(server)
    assert refused == ""
    assert server.spec is not None
    assert server.spec["holderIdentity"] == "me/1"
    found.release()
    assert server.spec is None


def test_a_lease_that_is_kept_stays_as_a_sign_and_is_no_obstacle() -> None:
    server = Server()
    found, _ = take(server)
    found.release(keep=True)
    assert server.spec is not None
    assert take(server)[1] == ""


def test_a_holder_that_renews_is_left_alone() -> None:
    server = Server("other/4")
    count = iter(range(1, 1000))

    def renew() -> None:
        assert server.spec is not None
        server.spec["renewTime"] = str(next(count))

    server.renew = renew
    _, refused = take(server)
    assert refused.startswith("other/4 is changing kube-proxy of this cluster right now; ")
    assert server.spec is not None
    assert server.spec["holderIdentity"] == "other/4"


def test_a_silent_holder_is_waited_for_and_told(clock: Clock) -> None:
    server = Server("other/4")
    told: list[str] = []
    _, refused = take(server, told)
    assert refused == ""
    assert len(told) == 1
    assert clock.now > SECONDS


def test_a_process_of_this_computer_that_ended_is_not_waited_for(clock: Clock) -> None:
    # no process has this number: the kernel's limit is 4194304
    server = Server(f"{socket.gethostname()}/4999999")
    assert take(server)[1] == ""
    assert clock.now == 0


def test_an_api_that_refuses_is_an_error() -> None:
    server = Server()

    def refuse(*_: object) -> None:
        raise ClusterError("leases: cannot create it (403)")

    server.create = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(ClusterError, match="403"):
        take(server)
