"""The watch that tries Services during a switch, run for real against loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time

from underlay.operations.watch import Watched
from underlay.render import source


def test_it_counts_what_fails_and_the_longest_gap_and_ends_when_told() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    senders = set()

    def echo() -> None:
        while True:
            data, client = udp.recvfrom(512)
            senders.add(client)
            udp.sendto(data, client)

    threading.Thread(target=echo, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    targets = [f"TCP/127.0.0.1/{port}", f"UDP/127.0.0.1/{udp.getsockname()[1]}",
               f"TCP/127.0.0.1/{nobody}"]  # fmt: skip
    command = [sys.executable, "-c", source("kube_proxy/watch.py"), "60", "20", *targets]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    run.terminate()
    text, _ = run.communicate(timeout=30)
    server.close()
    good, flow, bad = (Watched(**entry) for entry in json.loads(text))
    assert good.tries > 5
    assert (good.failed, flow.failed) == (0, 0)
    assert bad.failed == bad.tries > 5
    assert bad.longest_gap_ms >= 1000
    assert len(senders) == 1, "a UDP flow keeps its source port"
    assert str(bad).startswith(f"TCP/127.0.0.1/{nobody}: {bad.failed} of {bad.tries} tries failed")


def test_it_ends_by_itself() -> None:
    command = [sys.executable, "-c", source("kube_proxy/watch.py"), "0.2", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout) == []
