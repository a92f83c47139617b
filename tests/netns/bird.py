"""Real BIRD daemons in namespaces, one per node, configured as Calico's objects mean.

              hub (bridge)
     |       |       |         |
    n1      n2      n3  ...   n14        192.0.2.N on eth0, a pod 10.244.N.1, BIRD

Stand-ins, named: `BirdCluster` is the API server; its `follow` is confd, which renders BIRD's
configuration from the nodes, the BGPPeers and the BGPConfiguration on every write. Calico's BIRD is
a fork of 1.6, this one is the distribution's 2.0. What is real: BGP, the kernel's routes, the
product's reading of BIRD by its socket.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyinfra.connectors.util import CommandOutput, OutputLine
from tests.fake.calico import Calico
from tests.netns import pinger

from underlay.cluster import Kind
from underlay.facts.bird import SOCKETS
from underlay.facts.script import MARK
from underlay.features.route_reflectors.topology import Layout, Node, Session

_HEAD = """\
router id {address};
protocol device {{ scan time 2; }}
protocol direct {{ ipv4; interface "eth0"; }}
protocol kernel {{
  persist; scan time 2; merge paths on;
  ipv4 {{ import none; export where source = RTS_BGP; }};
}}
protocol static {{ ipv4; route {block} blackhole; }}
template bgp bgp_template {{
  local as {number};
  multihop;
  source address {address};
  graceful restart on;
  connect delay time 1; connect retry time 3; error wait time 5,60;
  ipv4 {{
    import where net ~ 10.244.0.0/16; export where net ~ 10.244.0.0/16;
    add paths on; gateway recursive;
  }};
}}
"""


def configuration(layout: Layout, node: Node, sessions: tuple[Session, ...], block: str) -> str:
    """What confd would write for one node, as far as sessions go."""
    own = node.addresses[0]
    parts = [_HEAD.format(address=own, block=block, number=layout.of(node))]
    for session in sessions:
        kind = "Mesh" if session.kind == "mesh" else "Node"
        lines = [f"neighbor {session.address} as {session.as_number};"]
        if session.kind == "mesh" and session.address > own:
            lines.append("passive on;")
        if session.client:
            lines.append(f"rr client; rr cluster id {node.cluster_id};")
        name = f"{kind}_{session.address.replace('.', '_')}"
        parts.append(f"protocol bgp {name} from bgp_template {{ {' '.join(lines)} }}\n")
    return "".join(parts)


class BirdCluster(Calico):
    """The objects, and a BIRD per node that follows them."""

    def __init__(self, count: int, folder: Path) -> None:
        super().__init__(count)
        self.folder = folder
        self.prefix = f"underlay-rr{os.getpid()}"
        self._written: dict[str, str] = {}

    def netns(self, number: int) -> str:
        """The namespace of node `number`, from 1; 0 is the hub."""
        return f"{self.prefix}-{number}"

    def block(self, name: str) -> str:
        """The pod block of a node."""
        return f"10.244.{self.names.index(name) + 1}.0/26"

    # -- confd

    def follow(self) -> None:
        """Render every node's configuration, and have BIRD read what changed."""
        layout = self.layout()
        sessions = layout.sessions()
        for node in layout.nodes:
            text = configuration(layout, node, sessions[node.name], self.block(node.name))
            if self._written.get(node.name) != text:
                place = self._place(node.name)
                (place / "bird.conf").write_text(text)
                if self._written.get(node.name):
                    self.birdc(node.name, "configure")
                self._written[node.name] = text

    def _place(self, name: str) -> Path:
        return self.folder / name.partition("/")[2]

    def birdc(self, name: str, *words: str) -> str:
        """Ask one BIRD."""
        command = ["birdc", "-s", str(self._place(name) / "bird.ctl"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    def _write(self, kind: Kind, name: str, found: dict[str, Any]) -> None:
        super()._write(kind, name, found)
        self.follow()

    def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, uid: str = "",
        version: str = "",
    ) -> None:  # fmt: skip
        """Delete an object, which BIRD follows too."""
        super().delete(kind, name, namespace, uid=uid, version=version)
        self.follow()

    def answer(self, host: str, command: str) -> tuple[bool, CommandOutput]:
        """BIRD is asked by the product's own script, at another path; the rest as on fake hosts."""
        text = shlex.split(command)[-1]
        if f"{MARK}protocols" not in text:
            return super().answer(host, command)
        here = text.replace(SOCKETS, str(self._place(host)))
        done = subprocess.run(["sh", "-c", here], capture_output=True, text=True, timeout=60)
        lines = [OutputLine("stdout", line) for line in done.stdout.splitlines()]
        return done.returncode == 0, CommandOutput(lines)

    # -- machines

    def start(self) -> None:
        """Namespaces, addresses, daemons."""
        _run("ip", "netns", "add", self.netns(0))
        _run("ip", "-n", self.netns(0), "link", "add", "b0", "up", "type", "bridge")
        for number, name in enumerate(self.names, start=1):
            own = self.netns(number)
            _run("ip", "netns", "add", own)
            _run("ip", "-n", self.netns(0), "link", "add", f"v{number}", "up", "master", "b0",
                 "type", "veth", "peer", "name", "eth0", "netns", own)  # fmt: skip
            for words in (
                f"addr add 192.0.2.{number}/24 dev eth0", "link set eth0 up", "link set lo up",
                f"addr add {self.pod_address(number)}/32 dev lo",
            ):  # fmt: skip
                _run("ip", "-n", own, *words.split())
            self._place(name).mkdir()
        self.follow()
        for name in self.names:
            self.restart(name)

    def pod_address(self, number: int) -> str:
        """The address of the pod on node `number`."""
        return f"10.244.{number}.1"

    def restart(self, name: str) -> None:
        """Start one BIRD."""
        place, own = self._place(name), self.netns(self.names.index(name) + 1)
        _run("ip", "netns", "exec", own, "bird", "-c", str(place / "bird.conf"),
             "-s", str(place / "bird.ctl"), "-P", str(place / "bird.pid"))  # fmt: skip

    def kill(self, name: str) -> None:
        """End one BIRD without a word to its peers."""
        os.kill(int((self._place(name) / "bird.pid").read_text()), signal.SIGKILL)

    def stop(self) -> None:
        """Remove everything."""
        for name in self.names:
            with suppress(OSError, ValueError):
                self.kill(name)
        for number in range(len(self.names) + 1):
            subprocess.run(["ip", "netns", "delete", self.netns(number)], capture_output=True)

    def routes(self, number: int) -> int:
        """How many pod blocks of others the kernel of a node has a way to."""
        done = subprocess.run(
            ["ip", "-n", self.netns(number), "route", "show", "proto", "bird"],
            capture_output=True, text=True,
        )  # fmt: skip
        return len([line for line in done.stdout.splitlines() if line.startswith("10.244.")])

    def wait_for_routes(self) -> None:
        """Until every kernel has a way to every pod."""
        numbers = range(1, len(self.names) + 1)
        for _ in range(600):
            if all(self.routes(number) == len(self.names) - 1 for number in numbers):
                return
            time.sleep(0.2)
        raise AssertionError({number: self.routes(number) for number in numbers})

    @contextmanager
    def pinging(self) -> Iterator[dict[tuple[int, int], tuple[int, int, int]]]:
        """Datagrams between all pods meanwhile: pair to (sent, lost, longest run of lost ones)."""
        found: dict[tuple[int, int], tuple[int, int, int]] = {}
        pods = [f"{self.netns(n)}={self.pod_address(n)}" for n in range(1, len(self.names) + 1)]
        process = subprocess.Popen(
            [sys.executable, pinger.__file__, *pods],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(1)
        try:
            yield found
        finally:
            out, _ = process.communicate(timeout=60)
            for pair, (sent, lost, longest) in json.loads(out).items():
                a, b = (int(word) + 1 for word in pair.split())
                found[a, b] = (sent, lost, longest)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
