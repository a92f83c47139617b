"""Clients that keep asking while something is changed: what they missed, and for how long.

One runs on every node, written in what a lab machine has. It asks a ClusterIP and a NodePort every
100 ms, on an emulated machine as often as it can without keeping it busy, each time by a new
connection; it keeps one connection open through each, and one UDP flow with one source port.

In ipvs mode a Service's address is local to a node, and so the source of the node's own sockets to
it. Such a socket ends with the mode, however short it lives: it is counted apart, as cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.machines import Machines

PATH = "/run/lab-client"
KEYS = ("tries", "failed", "cut", "gap")
_PROGRAM = r"""
import signal, socket, sys, threading, time
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
class Cut(OSError): pass
def once(where):
    with socket.socket() as c:
        c.settimeout(10)
        try:
            c.connect(where); c.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"pod=" in c.recv(512)
        except OSError:
            if where[0] == ip and c.getsockname()[0] == ip: raise Cut()
            raise
def flow(where, box=[]):
    if not box:
        box.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)); box[0].connect(where)
        box[0].settimeout(10)
    box[0].send(b"hello")
    return b"pod=" in box[0].recv(512)
def run(kind, where, out):
    call = {"new": once, "udp": flow}[kind]
    last = time.monotonic()
    while not ended.is_set():
        began = time.monotonic()
        bad = "failed"
        try: good = call(where)
        except Cut: good, bad = False, "cut"
        except OSError: good = False
        now = time.monotonic()
        out["tries"] += 1
        if good: out["gap"] = max(out["gap"], now - last); last = now
        else: out[bad] += 1
        ended.wait(max(0.1 - (now - began), min(12 * (now - began), 2)))
    out["gap"] = round(max(out["gap"], time.monotonic() - last), 2)
def stay(where, out):
    try:
        c = socket.create_connection(where, timeout=10)
        while not ended.is_set():
            c.sendall(b"stay\n"); good = b"stay" in c.recv(512)
            out["tries"] += 1
            if not good: out["failed"] += 1; return
            ended.wait(1)
    except OSError as error:
        out["failed"] += 1; out["error"] = "".join(c for c in str(error) if c.isalnum() or c == " ")
ip, node, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
found = {}
for name, kind, where in [("cluster-ip", "new", (ip, 80)), ("node-port", "new", (node, port)),
                          ("udp-flow", "udp", (ip, 80)), ("long-cluster-ip", "stay", (ip, 80)),
                          ("long-node-port", "stay", (node, port))]:
    out = found[name] = {"tries": 0, "failed": 0, "cut": 0, "gap": 0.0}
    work = (lambda w=where, o=out: stay(w, o)) if kind == "stay" else (
        lambda k=kind, w=where, o=out: run(k, w, o))
    threading.Thread(target=work, daemon=True).start()
ended.wait(1800)
time.sleep(0.5)
print(repr(found).replace(chr(39), chr(34)), flush=True)
"""


@dataclass(frozen=True)
class Seen:
    """What one client saw of one way of asking; gap: longest time without an answer, seconds.

    cut: of those that had no answer, and are not in failed, which had the Service's own address.
    """

    node: str
    what: str
    tries: int
    failed: int
    cut: int
    gap: float

    def __str__(self) -> str:
        return (
            f"{self.node} {self.what}: {self.failed} of {self.tries} failed, {self.cut} cut,"
            f" gap {self.gap} s"
        )


@contextmanager
def asking(machines: Machines, cluster_ip: str, node_port: int) -> Iterator[list[Seen]]:
    """Clients on every node while the block runs; afterwards the list holds what they saw."""
    seen: list[Seen] = []
    for name in machines.names:
        address = machines.lab.machine(name).address
        machines.write(name, f"{PATH}.py", _PROGRAM)
        machines.on(
            name,
            f"setsid python3 {PATH}.py {cluster_ip} {address} {node_port} >{PATH}.json 2>{PATH}.err"
            f" </dev/null & echo $! >{PATH}.pid",
        )
    machines.everywhere("sleep 3")
    try:
        yield seen
    finally:
        for name in machines.names:
            machines.on(name, f"kill -TERM $(cat {PATH}.pid)", check=False)
        for name in machines.names:
            text = machines.on(
                name, f"i=0; while [ ! -s {PATH}.json ] && [ $i -lt 50 ]; do sleep 0.3;"
                f" i=$((i+1)); done; cat {PATH}.json {PATH}.err",
            )  # fmt: skip
            for what, out in json.loads(text).items():
                seen.append(Seen(name, what, **{key: out[key] for key in KEYS}))
        for line in seen:
            print(line)
