"""The date of a host is set while a shell text of ours waits there: the texts run for real.

date(1) is a stand-in that jumps once it was asked for the time; what counts the seconds of a
machine, /proc/uptime, is the real one.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.unit.test_ipsec_host import GATEWAY

from underlay.facts.ipsec_host import FOLDER as IPSEC
from underlay.facts.wireguard_host import FOLDER as WIREGUARD
from underlay.operations import wireguard_rotation as steps
from underlay.operations.ipsec_plan import texts
from underlay.render import source

DAY = 86400
JUMPS = pytest.mark.parametrize("by", [DAY, -DAY], ids=["forward", "back"])
#: Seconds of a wait that is in vain, of one that is not, and of one that counts as without end.
WAIT, LONG, FOR_EVER = 2, 30, 60
PEER, NEW = "p" * 43 + "=", "n" * 43 + "="
PROGRAMS = {
    "date": """
asked=$(cat $HERE/asked 2>/dev/null || echo 0); echo $((asked + 1)) > $HERE/asked
now=$(/usr/bin/date +%s)
[ $asked -lt $(cat $HERE/after) ] || now=$((now + $(cat $HERE/jump)))
echo $now
""",
    "wg": """
case $1.$3 in
  show.latest-handshakes) cat $HERE/handshakes ;;
  set.private-key) echo "$4" >> $HERE/taken ;;
esac
""",
    "ping": "sleep 0.1; exit 1",
    "sync": ":",
}


@dataclass
class Host:
    """Programs and files of one host below a folder. jump: what its date is set by, in seconds."""

    place: Path
    jump: int

    def __post_init__(self) -> None:
        (self.place / "bin").mkdir()
        for name in ("etc", "run"):
            (self.place / name).mkdir()
        (self.place / "jump").write_text(str(self.jump))
        (self.place / "after").write_text("1")
        (self.place / "handshakes").touch()
        for name, text in PROGRAMS.items():
            self.program(name, text)

    def program(self, name: str, text: str) -> None:
        """What this host has under that name."""
        path = self.place / "bin" / name
        path.write_text(f"#!/bin/sh\nHERE={self.place}\n{text}\n")
        path.chmod(0o755)

    @property
    def path(self) -> str:
        """Where its programs are."""
        return f"{self.place}/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def run(self, text: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A shell text of ours; an error when it does not end."""
        for old, new in ((WIREGUARD, "etc"), (IPSEC, "etc"), (steps.RUN, "run"),
                         ("/run/underlay-ipsec", "run")):  # fmt: skip
            text = text.replace(old, f"{self.place}/{new}")
        text = text.replace("PATH=/usr", f"PATH={self.place}/bin:/usr")
        call = ["sh", "-c", text, "sh", *words]
        return subprocess.run(
            call, capture_output=True, text=True, env={"PATH": self.path}, timeout=FOR_EVER
        )

    def handshake(self, peer: str, after: float) -> None:
        """One that is made after so many seconds, in the time that the host has by then."""

        def made() -> None:
            time.sleep(after)
            text = f"{peer} {int(time.time()) + self.jump}\n"
            (self.place / "handshakes").write_text(text)

        threading.Thread(target=made).start()

    def outcome(self) -> str:
        """What a job of a rotation leaves, at the latest after FOR_EVER seconds."""
        path = self.place / "run/rotation-wg0"
        end = time.monotonic() + FOR_EVER
        while time.monotonic() < end:
            if path.exists():
                return path.read_text().strip()
            time.sleep(0.05)
        return "no end"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of a rotation."""
    for name in ("PATIENCE", "READY"):
        monkeypatch.setattr(steps, name, WAIT)


def job(of: str) -> str:
    """Of the member whose key is replaced, or of its peer."""
    if of == "member":
        return steps.take("wg0", {PEER: "10.200.0.1"})
    return steps.learn("wg0", "a", PEER, NEW, ["10.200.0.2/32"])


@JUMPS
@pytest.mark.parametrize("of", ["member", "peer"])
def test_a_key_that_gets_no_handshake_is_given_up_in_time(
    tmp_path: Path, short: None, of: str, by: int
) -> None:
    host = Host(tmp_path, by)
    began = time.monotonic()
    host.run(job(of))
    assert host.outcome() == "no handshake with the new key"
    assert time.monotonic() - began > WAIT - 1, "the wait ended early"


@JUMPS
@pytest.mark.parametrize("of", ["member", "peer"])
def test_a_handshake_of_another_day_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str, by: int
) -> None:
    for name in ("PATIENCE", "READY"):
        monkeypatch.setattr(steps, name, LONG)
    host = Host(tmp_path, by)
    (tmp_path / "etc/wg0.key.next").touch()
    (tmp_path / "etc/wg0.peers").write_text(f"PublicKey = {PEER}\n")
    before = f"{PEER} {int(time.time()) - 60}\n" if of == "member" else ""
    (tmp_path / "handshakes").write_text(before)
    host.run(job(of))
    host.handshake(PEER if of == "member" else NEW, 1.2)
    assert host.outcome() == "rotated"


def test_a_handshake_before_the_clock_was_set_back_proves_nothing(
    tmp_path: Path, short: None
) -> None:
    host = Host(tmp_path, 0)
    (tmp_path / "handshakes").write_text(f"{PEER} {int(time.time()) + DAY}\n")
    host.run(job("member"))
    assert host.outcome() == "no handshake with the new key"
    assert (tmp_path / "taken").read_text().splitlines()[-1].endswith("/wg0.key")


@pytest.mark.parametrize(
    ("age", "silent"), [(10, False), (160, True), (DAY, True), (-DAY, True)], ids=str
)
def test_a_session_of_the_future_is_no_sign_of_life(tmp_path: Path, age: int, silent: bool) -> None:
    """Neither to a rotation, nor to the timer that calls a silent peer again."""
    host = Host(tmp_path, 0)
    (tmp_path / "handshakes").write_text(f"{PEER} {int(time.time()) - age}\n")
    told = host.run(steps.silent("wg0", {"a": (PEER, "10.200.0.1")})).stdout
    assert (told == "a\n") is silent
    helper = source("wireguard/underlay-wireguard.sh")
    found = re.search(r"^silent\(\) \{$.*?^\}$", helper, re.M | re.S)
    assert found is not None
    text = f'dev=wg0\n{found.group()}\nif silent "$1"; then echo silent; fi'
    assert (host.run(text, PEER).stdout == "silent\n") is silent


#: A daemon whose child is there once the file of that name is, and renewed once its number is 2.
SWANCTL = """
[ -e $HERE/there ] || exit 0
n=$(cat $HERE/there)
case "$*" in
  *--raw*) echo "{name=net uniqueid=$n reqid=1 state=INSTALLED }" ;;
  *--list-sas*) echo "  net: #$n, reqid 1, INSTALLED, TUNNEL, ESP" ;;
esac
"""


def prove(
    host: Host, *, calls: bool, how: str, wait: int = WAIT
) -> subprocess.CompletedProcess[str]:
    """The proof of a link that the far side or this one calls."""
    host.program("swanctl", SWANCTL)
    host.program("journalctl", ":")
    wanted = replace(GATEWAY, esp_proposals=("aes256-sha256",))
    text = re.sub(r"(?m)^CALLS=.*$", f"CALLS={int(calls)}", texts(wanted)[f"{IPSEC}/a-b.env"][0])
    assert f"CALLS={int(calls)}" in text
    (host.place / "etc/a-b.env").write_text(text)
    # the wait for a renewal, too
    helper = source("ipsec/underlay-ipsec.sh").replace("+ 20)", f"+ {wait})")
    return host.run(helper, "prove", "a-b", str(wait), how)


@JUMPS
@pytest.mark.parametrize("what", ["waiting", "renew"])
def test_a_proof_that_fails_ends_in_time(tmp_path: Path, what: str, by: int) -> None:
    host = Host(tmp_path, by)
    if what == "renew":
        (tmp_path / "there").write_text("1")
        # the waits before it were asked for the time already
        (tmp_path / "after").write_text("2")
    began = time.monotonic()
    done = prove(host, calls=what == "renew", how="fresh")
    assert done.returncode == 1
    assert f"failed net {what}" in done.stdout
    assert time.monotonic() - began > WAIT - 1, "the wait ended early"


@JUMPS
def test_a_far_side_that_calls_later_is_waited_for(tmp_path: Path, by: int) -> None:
    host = Host(tmp_path, by)
    threading.Timer(1.2, (tmp_path / "there").write_text, ["1"]).start()
    done = prove(host, calls=False, how="kept", wait=LONG)
    assert done.returncode == 0, done.stdout
    assert "INSTALLED" in done.stdout
