"""How much a re-apply that changes nothing costs: modules and 24 kernel settings on 20 hosts.

    python -m bench.reapply [--hosts 20] [--rounds 5] [--ways ssh,underlay,template]

Compared in one run, in turns, because a machine's speed changes by the minute; a ratio is the
median of the ratios of each round, never a quotient of times that were taken far apart. The ways
are those of bench/ways.py. Needs root and the extra `bench`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.hosts import Hosts, hosts
from bench.ways import Way, project, ways

#: So many remote commands per host may a re-apply cost.
COMMANDS = 3


def main() -> int:
    """Measure, print the table; exit code 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", default="ssh,underlay,template,loop", help="compare only these")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, hosts(options.hosts, Path(place)) as found:
        folder = Path(place)
        project(folder, found)
        every = ways(folder, found)
        chosen = {name: every[name] for name in options.ways.split(",")}
        for way in chosen.values():
            way.run()
        seconds: dict[str, list[float]] = {name: [] for name in chosen}
        for _ in range(options.rounds):
            for name, way in chosen.items():
                started = time.monotonic()
                way.run()
                seconds[name].append(time.monotonic() - started)
        commands = _commands(every["underlay"], found)
    return _report(seconds, commands)


def _report(seconds: dict[str, list[float]], commands: int) -> int:
    own = seconds["underlay"]
    targets = {"ssh": ("<=", 1.5), "template": (">=", 2.0), "loop": (">=", 8.0)}
    rows = [
        (way, _ratio(own, seconds[way]) if way == "ssh" else _ratio(seconds[way], own), *target)
        for way, target in targets.items()
        if way in seconds
    ]
    print(f"{'':<10}{'seconds':>9}   ratio")
    print(f"{'underlay':<10}{statistics.median(own):>9.1f}   {commands} remote commands per host")
    missed = commands > COMMANDS
    for way, ratio, sign, target in rows:
        good = ratio <= target if sign == "<=" else ratio >= target
        missed = missed or not good
        what = "underlay / ssh" if way == "ssh" else f"{way} / underlay"
        verdict = "" if good else "   MISSED"
        told = f"{what} = {ratio:.2f} (target {sign} {target}){verdict}"
        print(f"{way:<10}{statistics.median(seconds[way]):>9.1f}   {told}")
    return 1 if missed else 0


def _ratio(dividends: list[float], divisors: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(dividends, divisors, strict=True))


def _commands(way: Way, found: Hosts) -> int:
    """The most remote commands that a re-apply costs one host, counted by the hosts' sshd."""
    before = {address: found.sessions(address) for address in found.addresses}
    way.run()
    return max(found.sessions(address) - before[address] for address in found.addresses)


if __name__ == "__main__":
    sys.exit(main())
