"""Hosts in folders whose shell texts run for real, and a power that ends at any command of them."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput, OutputLine
from tests.fake.world import Killed, Run

T = TypeVar("T", bound="Powered")
Use = Callable[[Any], Any]
_NUMBERS = itertools.count()


def run_shell(words: str, text: str, stdin: str, power: int, count: Path) -> tuple[int, int, str]:
    """Run a shell text for as many commands as the power lasts: exit code, commands, output.

    words: stand-ins, whose own commands are not counted; count: a file for the number.
    """
    # hosts of one run may ask the same host at the same time
    count = count.with_name(f"{count.name}-{next(_NUMBERS)}")
    script = (
        f"{words}\nspent=0\ntrap 'echo $spent > {count}' EXIT\n"
        f"trap 'spent=$((spent + 1)); if [ $spent -gt {power} ]; then kill -9 $$; fi' DEBUG\n"
        f"{text}\n"
    )
    done = subprocess.run(
        ["bash", "--posix", "-c", script], input=stdin, capture_output=True, text=True, cwd="/"
    )
    used = power if done.returncode == -9 else int(count.read_text())
    count.unlink(missing_ok=True)
    return done.returncode, used, done.stdout + done.stderr


def output(lines: list[str]) -> CommandOutput:
    """Lines as a host gives them."""
    return CommandOutput([OutputLine("stdout", line) for line in lines])


class Powered(ABC):
    """Hosts below one folder. power: shell commands until it is cut; steps: those that were run;
    names_of_steps: the script that each belongs to; ended: runs that lost their power; ends_at: it
    is cut before a script with this word.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.power = 10**9
        self.ends_at = ""
        self.steps = 0
        self.names_of_steps: list[str] = []
        self.dead = False
        self.last_run: State | None = None
        self.ended: WeakSet[State] = WeakSet()

    @abstractmethod
    def at(self: T, folder: Path) -> T:
        """The same hosts, in a folder that is filled already."""

    @abstractmethod
    def respond(self, host: str, command: str, stdin: list[str]) -> tuple[bool, CommandOutput]:
        """What a host's shell gives."""

    @abstractmethod
    def everything(self) -> dict[str, str]:
        """All that a removal must bring back, of every host."""

    def copied(self: T, folder: Path) -> T:
        """The same hosts as they are now, in another folder."""
        shutil.copytree(self.folder, folder)
        return self.at(folder)

    def power_up(self) -> None:
        """After a cut: the hosts answer, but not to the run that was cut."""
        if self.last_run is not None:
            self.ended.add(self.last_run)
        self.power, self.ends_at, self.dead = 10**9, "", False

    def answer(
        self, run: State, host: str, command: str, stdin: list[str]
    ) -> tuple[bool, CommandOutput]:
        """What a host's shell gives to that run."""
        self.dead = self.dead or bool(self.ends_at and self.ends_at in command)
        if self.dead or run in self.ended:
            raise Killed(host)
        self.last_run = run
        return self.respond(host, command, stdin)

    def spend(self, used: int, text: str, host: str, *, dead: bool = False) -> None:
        """Count commands that were run; Killed when the power did not last."""
        self.steps += used
        self.names_of_steps += used * [f"{host}: {text[:60]!r}"]
        if dead or self.steps > self.power:
            self.dead = True
            raise Killed(host)


def cuts(
    use: Use, folder: Path, start: T, action: Callable[[T], Run], step: int
) -> Iterator[tuple[T, str]]:
    """The hosts after a cut at one command of a run after another, and where it was."""
    whole = use(start.copied(folder / "whole"))
    action(whole)
    assert whole.steps > 50
    for cut in range(0, whole.steps, step):
        hosts = use(start.copied(folder / "cut"))
        hosts.power = cut
        with contextlib.suppress(Exception):
            action(hosts)
        assert hosts.dead, f"the cut before command {cut} did not happen"
        hosts.power_up()
        yield hosts, f"command {cut}, {whole.names_of_steps[cut]}"
        shutil.rmtree(hosts.folder)


def again(hosts: T, action: Callable[[T], Run], where: str) -> None:
    """A run that succeeds, and one after it that does nothing."""
    assert action(hosts).failed == set(), where
    steps = hosts.steps
    assert action(hosts).failed == set(), where
    more = hosts.names_of_steps[steps:]
    assert more == [], f"the next run changes something, {where}"
