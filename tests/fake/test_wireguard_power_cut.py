"""A run for WireGuard that is cut at every shell command, or that cannot write a file.

After the cut the hosts go on (`now`), lose their power as well and boot (`boot`), or take a guarded
change back because nobody came to say that it works (`fired`).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fake.power import Use, again, cuts
from tests.fake.wireguard_hosts import TIMER, Members, folder_of, public
from tests.fake.world import Run, run_on

from underlay.features.wireguard.deploy import connect
from underlay.operations.wireguard_plan import safe

HUB, A, B = "@fake/hub", "@fake/a", "@fake/b"
HOSTS = (HUB, A, B)
NODES: dict[str, dict[str, Any]] = {
    HUB: {"address": "10.200.0.100", "endpoint": "203.0.113.1:51820"},
    A: {"address": "10.200.0.1", "endpoint": "203.0.113.2:51820"},
    B: {"address": "10.200.0.2", "behind_nat": True},
}
OVERLAY: dict[str, Any] = {
    "overlay_cidr": "10.200.0.0/24", "hubs": [HUB], "accept_single_hub": True, "nodes": NODES,
    "preshared_keys": True,
}  # fmt: skip
SMALLER = {**OVERLAY, "nodes": {HUB: NODES[HUB], A: NODES[A]}, "mtu": 1400}
#: At which commands a run is cut and what follows: a sample of all; every fifth takes minutes each.
EVERY = pytest.mark.parametrize(
    ("step", "after"),
    [
        (160, "now"), (160, "fired"), pytest.param(160, "boot", marks=pytest.mark.slow),
        *(pytest.param(5, after, marks=pytest.mark.slow) for after in ("now", "fired", "boot")),
    ],
)  # fmt: skip
Action = Callable[[Members], Run]


def apply(_: Members, overlay: dict[str, Any] = OVERLAY) -> Run:
    """One run with the overlay."""
    return run_on([*HOSTS], connect, {"wireguard": {"overlays": {"wg0": overlay}}})


def change(_: Members) -> Run:
    """One run in which b leaves and packets become smaller."""
    return apply(_, SMALLER)


def remove(_: Members) -> Run:
    """One run of an inventory that names no overlay."""
    return run_on([*HOSTS], connect, {})


@pytest.fixture
def bare(tmp_path: Path) -> Members:
    """Three hosts that have nothing yet."""
    return Members(tmp_path / "bare", HOSTS)


@pytest.fixture
def applied(use: Use, bare: Members, tmp_path: Path) -> Members:
    """The same with the overlay."""
    found: Members = use(bare.copied(tmp_path / "applied"))
    assert apply(found).failed == set()
    return found


def passes(hosts: Members, after: str) -> None:
    """What happens on the hosts until somebody runs it again."""
    for member in hosts.members.values():
        if after == "boot":
            member.boot()
        elif after == "fired":
            member.fire()


def joined(hosts: Members, names: tuple[str, ...], where: str) -> None:
    """What is live is what is in the files, and both ends of each pair agree."""
    for name in names:
        member = hosts.members[name]
        etc, live = folder_of(member), member.state / "live/wg0"
        for file in ("wg0.env", "wg0.peers", "wg0.key"):
            assert (live / file).read_text() == (etc / file).read_text(), f"{name} {file}, {where}"
        peers = (etc / "wg0.peers").read_text()
        for other in names:
            if HUB not in (name, other) or name == other:
                continue
            theirs = folder_of(hosts.members[other])
            assert public((theirs / "wg0.key").read_text()) in peers, f"{name} {other}, {where}"
            shared = (etc / "psk/wg0" / safe(other)).read_text()
            assert shared == (theirs / "psk/wg0" / safe(name)).read_text(), f"{name}, {where}"
            assert (live / "psk/wg0" / safe(other)).read_text() == shared, f"{name}, {where}"


def live(hosts: Members, name: str) -> dict[str, str]:
    """What is in no file of that host, but for the timer of a guard: interfaces and units."""
    state = hosts.members[name].state
    return {
        str(path.relative_to(state)): path.read_text()
        for path in state.rglob("*")
        if path.is_file() and path.name != TIMER
    }


def nothing_left(hosts: Members, where: str) -> None:
    """No guard that could still take anything back, nothing it saved, no half-written file."""
    for path in hosts.everything():
        assert not path.endswith((".new", TIMER)), f"{path}, {where}"
        assert "guard/wireguard" not in path, f"{path}, {where}"


@EVERY
def test_an_apply_that_was_cut_converges(
    use: Use, bare: Members, tmp_path: Path, after: str, step: int
) -> None:
    for hosts, where in cuts(use, tmp_path, bare, apply, step):
        passes(hosts, after)
        again(hosts, apply, where)
        joined(hosts, HOSTS, where)
        nothing_left(hosts, where)


@EVERY
def test_a_change_that_was_cut_converges(
    use: Use, applied: Members, bare: Members, tmp_path: Path, after: str, step: int
) -> None:
    for hosts, where in cuts(use, tmp_path, applied, change, step):
        passes(hosts, after)
        again(hosts, change, where)
        joined(hosts, (HUB, A), where)
        nothing_left(hosts, where)
        assert hosts.members[B].everything() == bare.members[B].everything(), where


@EVERY
@pytest.mark.parametrize("action", [apply, remove])
def test_a_removal_after_any_cut_leaves_nothing(
    use: Use, bare: Members, applied: Members, tmp_path: Path, action: Action, after: str,
    step: int,
) -> None:  # fmt: skip
    start = bare if action is apply else applied
    for hosts, where in cuts(use, tmp_path, start, action, step):
        passes(hosts, after)
        again(hosts, remove, where)
        assert hosts.everything() == bare.everything(), where


@pytest.mark.parametrize("after", ["now", "fired", "boot"])
def test_a_run_that_was_cut_before_it_came_back_leaves_no_guard(
    use: Use, applied: Members, tmp_path: Path, after: str
) -> None:
    """What the next run finds is as wanted, and a guard that nobody disarms would undo it."""
    hosts = use(applied.copied(tmp_path / "cut"))
    hosts.ends_at = "mv armed disarmed"
    with contextlib.suppress(Exception):
        change(hosts)
    assert hosts.dead
    hosts.power_up()
    armed = [m for m in hosts.members.values() if (m.state / "active" / TIMER).exists()]
    assert armed
    passes(hosts, after)
    again(hosts, change, after)
    # whatever is still armed has its time now
    passes(hosts, "fired")
    joined(hosts, (HUB, A), after)
    nothing_left(hosts, after)


#: Trouble, a file that a change writes before it touches anything, whether the overlay is there.
WRITTEN = (
    pytest.param("full", "usr/local/sbin/.underlay-wireguard.new", False, marks=pytest.mark.slow),
    pytest.param(
        "full", "etc/systemd/system/.underlay-wireguard@.service.new", False, marks=pytest.mark.slow
    ),
    ("full", "etc/underlay/wireguard/.wg0.key.new", False),
    ("full", "etc/underlay/wireguard/.wg0.env.new", True),
    pytest.param(
        "unwritable",
        "etc/systemd/system/.underlay-wireguard@.service.new",
        False,
        marks=pytest.mark.slow,
    ),
    ("unwritable", "var/lib/underlay/wireguard/journal.jsonl", False),
    pytest.param("unwritable", "var/lib/underlay/guard/wireguard", True, marks=pytest.mark.slow),
)


@pytest.mark.parametrize(("trouble", "file", "there"), WRITTEN)
def test_a_host_that_cannot_be_written_stays_as_it_was(
    use: Use, bare: Members, applied: Members, tmp_path: Path, trouble: str, file: str, there: bool
) -> None:
    hosts = use((applied if there else bare).copied(tmp_path / "hosts"))
    action = change if there else apply
    before = live(hosts, A)
    place = hosts.members[A].root / file
    place.parent.mkdir(parents=True, exist_ok=True)
    if trouble == "full":
        # every write to it ends with "No space left on device"
        place.symlink_to("/dev/full")
    else:
        # neither a file nor a folder of that name can be made, even by root
        place = place.parent
        shutil.rmtree(place)
        place.touch()
    assert A in action(hosts).failed
    assert live(hosts, A) == before
    place.unlink(missing_ok=True)
    again(hosts, action, file)
    joined(hosts, (HUB, A), file)
    nothing_left(hosts, file)
