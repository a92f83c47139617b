"""What a guard saves and brings back is run for real, below a folder of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from underlay import journal
from underlay.facts.wireguard_host import CHANGE, FOLDER
from underlay.operations.wireguard_plan import SHARED
from underlay.operations.wireguard_script import (
    change,
    forwarding_before,
    make_keys,
    remove_all,
    revert,
)


class Machine:
    """The paths of a host below a folder; systemctl writes down what it is told."""

    def __init__(self, folder: Path) -> None:
        self.root, self.told = folder / "root", folder / "told"
        programs = folder / "bin"
        programs.mkdir()
        (self.root / "proc/sys/net/ipv4").mkdir(parents=True)
        for name, text in {
            # no unit is active, so each of the interfaces that are back has to be started
            "systemctl": f'echo "$@" >> {self.told}; [ "$1" != is-active ]',
            "wg": "echo key",
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        self._path = f"{programs}:/usr/bin:/bin"

    def run(self, text: str) -> None:
        """A script of ours."""
        for top in ("/etc/", "/usr/local/", "/var/lib/", "/proc/"):
            text = text.replace(top, f"{self.root}{top}")
        subprocess.run(["sh", "-c", text], env={"PATH": self._path}, cwd=self.root, check=True)

    def files(self) -> dict[str, str]:
        """Path on the host -> text, the journal left out."""
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
            and path.suffix != ".jsonl"
            and not {"guard", "proc"} & set(path.parts)
        }

    def entries(self) -> tuple[journal.Entry, ...]:
        """What the journal on the host says."""
        path = self.root / journal.path(CHANGE).lstrip("/")
        return journal.parse(path.read_text().splitlines())

    def guarded(self, text: str) -> None:
        """A change that its guard takes back."""
        save, back = revert()
        guard = "/var/lib/underlay/guard/wireguard"
        self.run(f"set -e; mkdir -p {guard}; cd {guard}\n{save}")
        self.run(text)
        self.run(f"cd {guard}\n{back}")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A hub with one interface, whose endpoint names are resolved."""
    found = Machine(tmp_path)
    files = {path: (f"# text of {path}\n", "0755") for path in SHARED}
    files[f"{FOLDER}/wg0.env"] = ("NAMED=1\n", "0600")
    found.run(make_keys(["wg0"]))
    found.run(change(files, [], ["none"], forwarding_was_off=True))
    return found


def test_the_removal_of_the_last_interface_is_taken_back_whole(machine: Machine) -> None:
    before = machine.files()
    assert f"{FOLDER}/wg0.key".lstrip("/") in before
    assert len(before) == len(SHARED) + 2
    gone = change({}, [], ["wg0"], forwarding_was_off=False) + "\n" + remove_all(machine.entries())
    machine.guarded(gone)
    assert machine.files() == before
    last = machine.told.read_text().splitlines()[-5:]
    assert last == [
        "daemon-reload",
        "enable --quiet underlay-wireguard@wg0",
        "is-active --quiet underlay-wireguard@wg0",
        "start underlay-wireguard@wg0",
        "enable --quiet --now underlay-wireguard-refresh@wg0.timer",
    ]


def test_the_journal_tells_of_a_way_back_and_forgets_nothing(machine: Machine) -> None:
    machine.guarded(remove_all(machine.entries()))
    assert [entry.event for entry in machine.entries()] == ["applying", "removed", "reverted"]
    assert machine.entries()[-1].at.startswith("20")
    # a later removal still knows that forwarding was off before us
    assert forwarding_before(machine.entries()) == "0"


def test_an_interface_that_is_new_is_taken_away_again(machine: Machine) -> None:
    before = machine.files()
    files = {f"{FOLDER}/wg1.env": ("NAMED=0\n", "0600"), f"{FOLDER}/wg1.peers": ("", "0600")}
    machine.guarded(make_keys(["wg1"]) + "\n" + change(files, [], [], forwarding_was_off=False))
    assert machine.files() == before
    told = machine.told.read_text()
    assert "disable --quiet --now underlay-wireguard@wg1" in told


def test_an_interface_that_goes_leaves_no_key_of_a_replacement_that_was_cut(
    machine: Machine,
) -> None:
    machine.run(f"echo key > {FOLDER}/wg0.key.next; echo > {FOLDER}/wg0.peers.new")
    machine.run("rm /usr/local/sbin/underlay-wireguard")
    machine.run(change({}, [], ["wg0"], forwarding_was_off=False))
    assert not [path for path in machine.files() if "wg0" in path]
