"""Only one controller at a time: who may take a lease, and when."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fake.world import Clock

from underlay.cluster import holder, lease
from underlay.cluster.lease import SECONDS, Lease
from underlay.errors import ApiSilentError, ClusterError, LeaseLostError


class Server:
    """An API server with one lease; `renew` is called whenever somebody reads it.

    silent: it answers nothing at all.
    """

    def __init__(self, holder: str = "") -> None:
        self.spec: dict[str, Any] | None = None
        if holder:
            self.spec = {"holderIdentity": holder, "renewTime": "0"}
        self.version = 7
        self.silent = False
        self.renew: Callable[[], None] = lambda: None

    def take_away(self, holder: str) -> None:
        """Another run writes it."""
        self.spec = {"holderIdentity": holder, "renewTime": "9"} if holder else None
        self.version += 1

    def _object(self) -> dict[str, Any]:
        if self.silent:
            raise ApiSilentError("no answer")
        assert self.spec is not None
        meta = {"resourceVersion": str(self.version), "uid": "u"}
        return {"metadata": meta, "spec": dict(self.spec)}

    def find(self, *_: object) -> dict[str, Any] | None:
        """The lease as it is."""
        self.renew()
        return None if self.spec is None else self._object()

    def create(self, _: object, found: dict[str, Any], __: object) -> dict[str, Any]:
        """Make it."""
        self.spec = found["spec"]
        return self._object()

    def merge(self, _: object, __: object, change: dict[str, Any], ___: object) -> dict[str, Any]:
        """Take it, or renew it; only over the version that was read."""
        self._object()
        if change["metadata"]["resourceVersion"] != str(self.version):
            raise ClusterError("leases: cannot patch it (409)")
        self.spec = change["spec"]
        self.version += 1
        return self._object()

    def delete(self, *_: object, uid: str, version: str) -> None:
        """Give it back, if it is the one that was written last."""
        if (uid, version) == ("u", str(self.version)):
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


#: No process has this number: the kernel's limit is 4194304.
NOBODY = 4999999


def _holder(**other: object) -> str:
    """This process as a holder, in some of it another one."""
    short, *rest = holder.myself().split()
    found = dict(part.split("=") for part in rest) | {"pid": short.partition("/")[2]}
    found |= {key: str(value) for key, value in other.items()}
    place = f"boot={found['boot']} pidns={found['pidns']} start={found['start']}"
    return f"{short.partition('/')[0]}/{found['pid']} {place}"


def test_a_process_that_is_seen_to_have_ended_is_not_waited_for(clock: Clock) -> None:
    assert take(Server(_holder(pid=NOBODY)))[1] == ""
    # its number is another process's by now
    assert take(Server(_holder(start=1)))[1] == ""
    assert clock.now == 0


DAY = 86400.0
JUMPS = pytest.mark.parametrize("by", [DAY, -DAY], ids=["forward", "back"])


@JUMPS
def test_a_clock_that_jumps_takes_no_lease_of_a_holder_that_renews(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    """A holder that was silent for a moment, seen by a computer whose clock is set meanwhile."""
    monkeypatch.setattr(lease, "datetime", clock.calendar())
    server = Server("other/4")
    asked = iter(range(1000))

    def renew() -> None:
        if next(asked) == 1:
            clock.ahead += by
        if clock.now > SECONDS - 5:
            assert server.spec is not None
            server.spec["renewTime"] = "1"

    server.renew = renew
    assert take(server)[1].startswith("other/4 is changing kube-proxy of this cluster right now")
    assert (server.spec or {})["holderIdentity"] == "other/4"


@JUMPS
def test_a_clock_that_jumps_makes_a_silent_holder_no_older_and_no_younger(
    clock: Clock, by: float
) -> None:
    server = Server("other/4")
    asked = iter(range(1000))
    server.renew = lambda: setattr(clock, "ahead", by if next(asked) else 0.0)
    assert take(server)[1] == ""
    assert SECONDS < clock.now < SECONDS + 5


@JUMPS
def test_a_clock_that_jumps_gives_nothing_of_ours_away(clock: Clock, by: float) -> None:
    """A lease that was renewed in time is ours without a question, another is asked for."""
    server = Server()
    found, _ = take(server)
    server.silent = True
    clock.ahead += by
    found.hold()
    clock.sleep(SECONDS + 1)
    with pytest.raises(ApiSilentError):
        found.hold()


@JUMPS
def test_a_date_of_a_holder_whose_clock_jumps_is_a_sign_of_life(clock: Clock, by: float) -> None:
    """What it writes is earlier or later than before; that it is another one counts."""
    server = Server("other/4")

    def renew() -> None:
        assert server.spec is not None
        server.spec["renewTime"] = str(1.8e9 + (by if clock.now > 10 else 0))

    server.renew = renew
    assert take(server)[1].startswith("other/4 is changing kube-proxy of this cluster right now")


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"pid": 1, "start": 0},
        {"pid": NOBODY, "pidns": 1},
        {"pid": NOBODY, "boot": "another"},
        {"start": 1, "pidns": 1},
    ],
)
def test_a_process_that_runs_or_would_not_be_seen_is_waited_for(
    clock: Clock, other: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    if other.get("pid") == 1:
        # as with hidepid, where only its number is known to be taken
        monkeypatch.setattr(holder, "_started", lambda pid: "")
    assert take(Server(_holder(**other)))[1] == ""
    assert clock.now > SECONDS


def test_the_form_of_before_is_waited_for(clock: Clock) -> None:
    told: list[str] = []
    old = f"{socket.gethostname()}/{NOBODY}"
    assert take(Server(old), told)[1] == ""
    assert told == [f"{old} has changed kube-proxy here; waiting for its end"]
    assert clock.now > SECONDS


def test_a_child_is_seen_to_run_and_to_end() -> None:
    code = "from underlay.cluster.holder import myself; print(myself(), flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    known = child.stdout.readline().rstrip()
    assert known.startswith(f"{socket.gethostname()}/{child.pid} boot=")
    assert not holder.has_ended(known)
    child.communicate("\n")
    assert holder.has_ended(known)


def test_a_message_names_computer_and_number_and_the_rest_only_to_tell_two_apart() -> None:
    assert holder.called(_holder(pid=NOBODY)) == f"{socket.gethostname()}/{NOBODY}"
    assert holder.called("other/4") == "other/4"
    twin = _holder(pidns=1)
    assert holder.called(twin) == twin


def test_a_proc_of_another_namespace_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = _holder(pid=NOBODY)
    monkeypatch.setattr(Path, "readlink", lambda path: Path("1"))
    assert holder.myself() == f"{socket.gethostname()}/{os.getpid()}"
    assert not holder.has_ended(gone)


def test_an_api_that_refuses_is_an_error() -> None:
    server = Server()

    def refuse(*_: object) -> None:
        raise ClusterError("leases: cannot create it (403)")

    server.create = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(ClusterError, match="403"):
        take(server)


def test_a_lease_that_another_run_took_is_lost_for_ever(clock: Clock) -> None:
    server = Server()
    found, _ = take(server)
    server.take_away("other/4")
    # within its time nobody may have taken it, so that nothing is asked
    found.hold()
    clock.sleep(SECONDS + 1)
    for _ in range(2):
        with pytest.raises(LeaseLostError, match="other/4 took the lease kube-system/x, so this"):
            found.hold()
    server.take_away("me/1")
    with pytest.raises(LeaseLostError, match="look at what it did, then run this one again"):
        found.hold()


def test_a_lease_that_is_gone_is_lost(clock: Clock) -> None:
    server = Server()
    found, _ = take(server)
    server.take_away("")
    clock.sleep(SECONDS + 1)
    with pytest.raises(LeaseLostError, match="somebody gave away the lease"):
        found.hold()
    assert server.spec is None, "it is not made again"


def test_a_lease_that_could_not_be_renewed_is_held_again_when_nobody_took_it(clock: Clock) -> None:
    server = Server()
    found, _ = take(server)
    server.silent = True
    clock.sleep(SECONDS + 1)
    with pytest.raises(ApiSilentError):
        found.hold()
    server.silent = False
    found.hold()
    clock.sleep(SECONDS - 1)
    server.silent = True
    found.hold()


def test_a_lease_of_another_run_is_not_deleted(clock: Clock) -> None:
    server = Server()
    found, _ = take(server)
    server.take_away("other/4")
    found.release()
    assert server.spec is not None
    assert server.spec["holderIdentity"] == "other/4"


def test_the_thread_that_renews_leaves_what_another_run_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "EVERY", 0.01)
    server, asked = Server(), threading.Event()
    found, _ = take(server)
    server.take_away("other/4")
    before = server.version
    server.renew = asked.set
    assert asked.wait(10)
    found.release()
    assert (server.spec or {}).get("holderIdentity") == "other/4"
    assert server.version == before
    with pytest.raises(LeaseLostError):
        found.hold()
