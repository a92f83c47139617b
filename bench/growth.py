"""How the cost of one job grows with the hosts: first apply, a re-apply, a change of one host.

    python -m bench.growth [--hosts 1 10 25 50 100] [--loop-up-to 25] [--plot docs/growth.svg]

Every count has hosts of its own for each way, so that the first apply is one. The ways are those of
bench/ways.py, run one after the other; only bare ssh is run on the hosts of underlay, right before
each of its jobs. `ratio` is a way's seconds as a multiple of underlay's, and `of ssh` as one of
bare ssh's, of the same count and job, taken within the same minutes. Per way also what it costs the
computer that runs it: CPU seconds with all its processes, and the largest sum of their memory
(proportional set size, looked at five times a second). Needs root and the extra `bench`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.hosts import Hosts, hosts
from bench.ways import Way, project, ways

JOBS = ("first apply", "re-apply", "one host changes")
WAYS = ("ssh", "underlay", "template", "loop")
#: Ways on the same hosts: bare ssh changes nothing there.
TOGETHER = (("ssh", "underlay"), ("template",), ("loop",))


@dataclass(frozen=True)
class Cost:
    """What one run of one way cost."""

    seconds: float
    cpu: float
    mib: float
    commands: float


def main() -> int:
    """Measure, print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 10, 25, 50, 100])
    parser.add_argument("--loop-up-to", type=int, default=25, help="hosts; the loop is slow")
    parser.add_argument("--plot", type=Path, help="write this SVG")
    options = parser.parse_args()
    found: dict[tuple[int, str, str], Cost] = {}
    print("| hosts | job | way | seconds | ratio | of ssh | commands per host | CPU s | MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in options.hosts:
        for names in TOGETHER:
            if "loop" in names and count > options.loop_up_to:
                continue
            for job, name, cost in _jobs(count, names):
                found[count, job, name] = cost
        for job in JOBS:
            _print(found, count, job)
    if options.plot is not None:
        _draw(found, options.plot)
    return 0


def _print(found: dict[tuple[int, str, str], Cost], count: int, job: str) -> None:
    own, bare = found[count, job, "underlay"], found[count, job, "ssh"]
    for name in WAYS:
        cost = found.get((count, job, name))
        if cost is not None:
            print(
                f"| {count} | {job} | `{name}` | {cost.seconds:.1f} |"
                f" {cost.seconds / own.seconds:.1f} | {cost.seconds / bare.seconds:.2f} |"
                f" {cost.commands:.1f} | {cost.cpu:.1f} | {cost.mib:.0f} |",
                flush=True,
            )


def _jobs(count: int, names: Sequence[str]) -> Iterator[tuple[str, str, Cost]]:
    """The three jobs of ways that share hosts, in turns; nothing was done to those before."""
    with tempfile.TemporaryDirectory() as place, hosts(count, Path(place)) as made:
        folder = Path(place)
        project(folder, made)
        every = ways(folder, made)
        for job in JOBS:
            if job == JOBS[-1]:
                project(folder, made, odd=made.addresses[-1])
            for name in names:
                yield job, name, _measured(every[name], made)


def _measured(way: Way, made: Hosts) -> Cost:
    before = sum(made.sessions(address) for address in made.addresses)
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        run = subprocess.Popen(
            way.command, cwd=way.folder, env=way.environment, stdout=said, stderr=said
        )
        most = _Memory(run.pid)
        _, status, used = os.wait4(run.pid, 0)
        seconds = time.monotonic() - started
        most.over.set()
        # told to the object too, for it must not wait for a process that is gone
        run.returncode = os.waitstatus_to_exitcode(status)
        if run.returncode != 0:
            said.seek(0)
            raise SystemExit(said.read().decode(errors="replace"))
    sessions = sum(made.sessions(address) for address in made.addresses) - before
    return Cost(
        seconds, used.ru_utime + used.ru_stime, most.mib, sessions / len(made.addresses)
    )  # fmt: skip


class _Memory:
    """The largest sum of the memory of a process and its descendants, while it runs."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self.over = threading.Event()
        threading.Thread(target=self._look, args=(pid,), daemon=True).start()

    def _look(self, pid: int) -> None:
        while not self.over.wait(0.2):
            self.mib = max(self.mib, sum(_mib(each) for each in _family(pid)))


def _family(pid: int) -> list[int]:
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(place.parent.name)] = int(place.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for each in found:
        found.extend(child for child, parent in parents.items() if parent == each)
    return found


def _mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _draw(found: dict[tuple[int, str, str], Cost], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    figure, places = pyplot.subplots(1, len(JOBS), figsize=(12, 4), sharey=True)
    for place, job in zip(places, JOBS, strict=True):
        for name in WAYS:
            points = sorted(
                (count, cost.seconds)
                for (count, what, which), cost in found.items()
                if (what, which) == (job, name)
            )
            place.plot(*_columns(points), marker="o", label=name)
        place.set_title(job)
        place.set_xlabel("hosts")
        place.set_yscale("log")
        place.grid(visible=True, which="both", alpha=0.3)
    places[0].set_ylabel("seconds")
    places[0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [count for count, _ in points], [seconds for _, seconds in points]


if __name__ == "__main__":
    sys.exit(main())
