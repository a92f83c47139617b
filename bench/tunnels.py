"""What a tunnel costs: throughput and latency through it, as a ratio of the bare link below it.

    underlay lab up --topology star          and deploys/wireguard.py with inventories/star.py, or
    underlay lab up --topology two-sites     and deploys/ipsec.py with inventories/two_sites.py
    python -m bench.tunnels [--name LAB] [--rounds 5] [--seconds 5]

Both ways are measured in turns between the same two machines, the ends of the tunnel, and a ratio
is the median of the ratios of each round: an emulated machine's speed changes by the minute.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
from dataclasses import dataclass

from underlay.lab import ssh, state
from underlay.lab.state import Lab


@dataclass(frozen=True)
class Way:
    """One way between two machines: the address to call, and the one to call from."""

    own: str
    far: str


@dataclass(frozen=True)
class Tunnel:
    """The ends of a lab's tunnel, the link below it and the way through it."""

    client: str
    server: str
    bare: Way
    through: Way
    shows: str


#: Topology -> its tunnel as the example inventories make it; shows: prints what encrypts.
TUNNELS = {
    "star": Tunnel(
        "w1", "hub", Way("10.88.1.2", "10.88.1.1"), Way("10.200.0.1", "10.200.0.100"),
        "ip -d link show wg0 | grep -oE 'wireguard|tun'",
    ),
    "two-sites": Tunnel(
        "a-gw", "b-gw", Way("192.0.2.1", "192.0.2.2"), Way("10.10.0.1", "10.20.0.1"),
        "swanctl --list-sas | grep -o 'INSTALLED.*ESP.*'",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One round over one way."""

    mbit: float
    ms: float


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default=os.environ.get("UNDERLAY_LAB", "lab"), help="of the lab")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of one transfer")
    options = parser.parse_args()
    lab = state.load(options.name)
    tunnel = TUNNELS.get(lab.topology_name)
    if tunnel is None:
        raise SystemExit(f"no tunnel in topology {lab.topology_name}; use {' or '.join(TUNNELS)}")
    print(f"{lab.topology_name}, {lab.accelerator}: {_on(lab, tunnel.client, tunnel.shows)}")
    rounds = []
    for _ in range(options.rounds):
        bare = _measure(lab, tunnel, tunnel.bare, options.seconds)
        through = _measure(lab, tunnel, tunnel.through, options.seconds)
        rounds.append((bare, through))
        print(f"  bare {bare}, through {through}", flush=True)
    print("| | bare | through | ratio |\n|---|---|---|---|")
    for what, unit in (("mbit", "Mbit/s"), ("ms", "ms")):
        pairs = [(getattr(bare, what), getattr(through, what)) for bare, through in rounds]
        low, high = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"| {unit} | {low:.1f} | {high:.1f} | {ratio:.2f} |")
    return 0


def _measure(lab: Lab, tunnel: Tunnel, way: Way, seconds: int) -> Sample:
    """One TCP stream, then echo requests on the quiet link."""
    # ends by itself after one client
    _on(lab, tunnel.server, f"iperf3 -s -1 -D -B {way.far}; sleep 1")
    said = _on(lab, tunnel.client, f"iperf3 -J -t {seconds} -c {way.far} -B {way.own}")
    bits = json.loads(said)["end"]["sum_received"]["bits_per_second"]
    echo = _on(lab, tunnel.client, f"ping -q -c 50 -i 0.1 -W 3 -I {way.own} {way.far}")
    found = re.search(r"= [\d.]+/([\d.]+)/", echo)
    if found is None:
        raise SystemExit(f"{tunnel.client}: no answer from {way.far}: {echo}")
    return Sample(round(bits / 1e6, 1), float(found.group(1)))


def _on(lab: Lab, machine: str, command: str) -> str:
    answer = ssh.execute(lab, machine, command)
    if answer.code != 0:
        raise SystemExit(f"{machine}: {command}: {answer.stderr or answer.stdout}")
    return answer.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
