"""Machines that were away: reboot, and wait until they are as ready as before.

The rule: a machine is back when it answers in another boot than the one it was in.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from underlay.lab import machines, ssh, wait
from underlay.lab.progress import Say
from underlay.lab.state import Lab

#: Seconds in which a machine that is to be rebooted must answer, and in which all must be back.
ANSWER_S = 120
BACK_S = 900


def reboot(lab: Lab, names: Sequence[str], say: Say, *, hard: bool = False) -> None:
    """Reboot machines and wait for them; with `hard` also one that does not answer.

    LabError when a machine does not answer before, or does not come back.
    """
    # without the boot that it was in, a machine that still shuts down would count as back
    until = time.monotonic() + ANSWER_S
    before = {
        name: ssh.boot(lab, name) if hard else ssh.wait(lab, name, deadline=until) for name in names
    }
    for name in names:
        machines.reboot(lab, name, hard=hard)
    wait_ready(lab, names, say, before)


def wait_ready(
    lab: Lab, names: Sequence[str], say: Say, before: Mapping[str, ssh.Boot | None] | None = None
) -> None:
    """Wait for these machines, and with Kubernetes for the nodes they are.

    before: the boot that each machine must have left.
    """
    deadline = time.monotonic() + BACK_S
    boots = wait.wait_machines(lab, names, say, deadline=deadline, not_boots=before or {})
    if lab.kubernetes:
        wait.wait_cluster(lab, boots, say, deadline=deadline)
