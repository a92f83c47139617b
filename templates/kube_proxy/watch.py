"""Tries Services again and again while kube-proxy is switched, and says what was lost.

usage: watch.py SECONDS INTERVAL_MS PROTOCOL/ADDRESS/PORT...
Ends on SIGTERM or after SECONDS and prints one line of JSON: per target the number of tries, how
many failed, and the longest time without a success in milliseconds. A UDP target keeps its source
port for the whole time, so an entry of connection tracking that leads nowhere is seen.
"""

import signal
import socket
import sys
import threading
import time

SECONDS, INTERVAL = float(sys.argv[1]), float(sys.argv[2]) / 1000
PATIENCE = 2.0
#: A question for the name servers of the root (RFC 1035), which any UDP echo answers too.
QUESTION = bytes.fromhex("1234010000010000000000000000020001")
ended = threading.Event()


def tcp(address, port):
    with socket.create_connection((address, port), timeout=PATIENCE):
        return True


def udp(flow):
    flow.settimeout(PATIENCE)
    flow.send(QUESTION)
    return bool(flow.recv(2048))


def watch(target, result):
    protocol, address, port = target.split("/")
    flow = None
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    last = time.monotonic()
    while not ended.is_set():
        began = time.monotonic()
        try:
            if protocol == "UDP":
                if flow is None:
                    flow = socket.socket(family, socket.SOCK_DGRAM)
                    flow.connect((address, int(port)))
                done = udp(flow)
            else:
                done = tcp(address, int(port))
        except OSError:
            done = False
        now = time.monotonic()
        result["tries"] += 1
        if done:
            result["longest_gap_ms"] = max(result["longest_gap_ms"], round((now - last) * 1000))
            last = now
        else:
            result["failed"] += 1
        # a slow node is not to be kept busy by being watched
        took = now - began
        ended.wait(max(INTERVAL - took, min(8 * took, 1.0)))
    result["longest_gap_ms"] = max(
        result["longest_gap_ms"], round((time.monotonic() - last) * 1000)
    )


signal.signal(signal.SIGTERM, lambda *_: ended.set())
results = [
    {"target": target, "tries": 0, "failed": 0, "longest_gap_ms": 0} for target in sys.argv[3:]
]
threads = [threading.Thread(target=watch, args=(r["target"], r), daemon=True) for r in results]
for thread in threads:
    thread.start()
ended.wait(SECONDS)
ended.set()
for thread in threads:
    thread.join(PATIENCE + 1)
# python3-minimal of Debian has no json
lines = [
    f'{{"target": "{r["target"]}", "tries": {r["tries"]}, "failed": {r["failed"]},'
    f' "longest_gap_ms": {r["longest_gap_ms"]}}}'
    for r in results
]
print(f"[{', '.join(lines)}]", flush=True)
