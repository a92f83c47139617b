"""Listen, probe and measure on one node; read from standard input by `python3 - PLAN`.

It prints one line of JSON and goes on in the background, as one process without a file open but its
own folder: `go` there starts the probes, `results` is their answer, `stop` ends it and leaves
`arrivals`. It ends by itself, and takes its folder along, when nobody touches `lease` for some
seconds, and in any case at the deadline. It answers only datagrams that carry this run's number.
Runs on python 3.6 and newer, standard library only.
"""

import base64
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
import zlib
from typing import Optional

from underlay.features.preflight.files.agent.loop import Agent
from underlay.features.preflight.files.agent.plan import Plan


def synchronised() -> Optional[bool]:
    """Whether the kernel's clock is disciplined by a daemon; None when it does not tell."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != 5


def remove(folder: str) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


def main() -> None:
    now = time.time()
    plan = Plan(json.loads(zlib.decompress(base64.b64decode(sys.argv[1]))))
    place = "/run" if os.access("/run", os.W_OK) else "/tmp"  # noqa: S108 - a new folder with a random name
    folder = os.path.join(place, f"underlay-preflight.{os.urandom(6).hex()}")
    os.mkdir(folder, 0o700)
    agent = Agent(plan, folder)
    with open(os.path.join(folder, "lease"), "w"):
        pass
    states = [[each.protocol, each.port, each.state] for each in agent.listeners]
    # `go` may come before the loop is ready for its signal, and finds it then by looking
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    child = os.fork()
    if child:
        answer = {
            "folder": folder, "pid": child, "clock": now, "synchronised": synchronised(),
            "tool": "python3 " + sys.version.split()[0], "uid": os.geteuid(), "listeners": states,
        }  # fmt: skip
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        os._exit(0)
    os.setsid()
    # the kernel ends the process at the deadline even if the loop hangs
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(plan.deadline) + 5)
    empty = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(empty, number)
    try:
        agent.live()
    finally:
        # `arrivals` is there when somebody asked for it, and is about to read it
        if not agent.there("arrivals"):
            remove(folder)
        os._exit(0)


if __name__ == "__main__":
    main()
