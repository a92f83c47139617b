"""What a user does with a lab: run deploys, look at machines."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from underlay.lab import down, network, ssh, state
from underlay.lab.progress import clock
from underlay.lab.state import Lab
from underlay.lab.up import Request, up

ROOT = Path(__file__).resolve().parent.parent.parent


class Machines:
    """A running lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.names = [machine.name for machine in lab.topology.machines]

    def on(self, machine: str, command: str, *, check: bool = True) -> str:
        """Standard output of a shell command on one machine."""
        answer = ssh.execute(self.lab, machine, command)
        if check:
            assert answer.code == 0, f"{machine}: {command}: {answer.stderr or answer.stdout}"
        return answer.stdout.strip()

    def write(self, machine: str, path: str, text: str) -> None:
        """Put a file on one machine."""
        self.on(machine, f"printf %s {shlex.quote(text)} > {shlex.quote(path)}")

    def everywhere(self, command: str) -> dict[str, str]:
        """The same on every machine, at once."""
        answers = ssh.everywhere(self.lab, self.names, command)
        assert not [a for a in answers if a.code != 0], answers
        return {answer.machine: answer.stdout.strip() for answer in answers}

    def underlay(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the `underlay` command against this lab."""
        return self._run([sys.executable, "-m", "underlay", *words])

    def command(self, *words: str) -> list[str]:
        """The command line of pyinfra against this lab."""
        return [str(Path(sys.executable).parent / "pyinfra"), "-y", "inventory.py", *words]

    def pyinfra(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run deploys, for people."""
        return self._run(self.command(*words))

    def applied(self, *words: str) -> dict[str, int]:
        """Run deploys and return pyinfra's totals: success (changed), error, no_change."""
        found, _ = self._results(*words)
        return {str(key): int(value) for key, value in found["totals"].items()}

    def unchanged(self, *words: str) -> None:
        """Run deploys and see that nothing is left to do; else say where, and which lines."""
        found, said = self._results("--diff", *words)
        changed = {op["name"]: op["success"] for op in found["operations"] if op["success"]}
        assert not changed, f"{changed}\n{said}"

    def _results(self, *words: str) -> tuple[dict[str, Any], str]:
        """The results of a run that succeeds, and what it said."""
        done = self._run(self.command("--json", *words))
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])["results"], done.stderr

    def environment(self) -> dict[str, str]:
        """The environment that points inventory.py at this lab."""
        return {**os.environ, "UNDERLAY_LAB": self.lab.name, "PYINFRA_PROGRESS": "off"}

    @contextmanager
    def sniffing(self, link: str) -> Iterator[list[str]]:
        """What goes over a link while the block runs, a line for each packet."""
        words = ["tcpdump", "-nl", "-i", network.bridge(link)]
        sniffer = subprocess.Popen(
            ["ip", "netns", "exec", self.lab.netns, *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        seen: list[str] = []
        try:
            assert sniffer.stderr is not None
            while "listening on" not in sniffer.stderr.readline():
                pass
            yield seen
            time.sleep(1)
        finally:
            sniffer.terminate()
            seen += [line for line in sniffer.communicate()[0].splitlines() if line.strip()]

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=False
        )


Kind = TypeVar("Kind", bound=Machines)


def own_lab(name: str, kind: type[Kind], given: str = "", **options: object) -> Iterator[Kind]:
    """A lab for a module of scenarios, removed at its end; or one that runs already, and stays.

    kind: what the scenarios do with it; given: variable of the environment that may name a running
    lab; options: of a lab's Request.
    """
    running = os.environ.get(given)
    if running:
        yield kind(state.load(running))
        return
    say = clock()
    down.down(name, say)
    try:
        yield kind(up(Request(name, **{"memory": 640, **options}), say))  # type: ignore[arg-type]
    finally:
        down.down(name, say)


def pings(machines: Machines, source: str, address: str, *words: str) -> bool:
    """Whether one of three echo requests comes back."""
    text = machines.on(source, f"ping -c 3 -i 0.3 -W 3 {' '.join(words)} {address}", check=False)
    return " 0 received" not in text and "received" in text
