"""Waiting for machines and for the cluster, with a line for whatever is still missing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from underlay.cluster.access import from_kubeconfig
from underlay.errors import LabError
from underlay.lab import ssh
from underlay.lab.kubernetes.api import not_ready
from underlay.lab.process import alive
from underlay.lab.progress import Say
from underlay.lab.ssh import Boot
from underlay.lab.state import Lab


def wait_machines(
    lab: Lab,
    names: Sequence[str],
    say: Say,
    *,
    deadline: float,
    not_boots: Mapping[str, Boot | None],
) -> dict[str, Boot]:
    """Wait until these machines answer over SSH, in another boot than the one named for each.

    Returns each machine's boot.
    """
    boots: dict[str, Boot] = {}
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        waiting = {
            pool.submit(ssh.wait, lab, name, deadline=deadline, not_boot=not_boots.get(name)): name
            for name in names
        }
        for done in as_completed(waiting):
            boots[waiting[done]] = done.result()
            say(f"{waiting[done]}: answers over SSH")
    return boots


def running(lab: Lab) -> list[str]:
    """The machines whose power is on."""
    known = [(machine.name, lab.process(machine.name)) for machine in lab.topology.machines]
    return [name for name, process in known if process is not None and alive(process)]


def wait_cluster(lab: Lab, boots: Mapping[str, Boot], say: Say, *, deadline: float) -> None:
    """Wait until the nodes of these machines are Ready in these boots and their pods run.

    The API server goes on calling a node Ready, and its pods running, for a while after the machine
    went away; the boot that the kubelet reports tells old from new.
    """
    access = from_kubeconfig(lab.directory / "kubernetes/lab.local.conf")
    last: list[str] = []
    while waiting := not_ready(access, boots, network=lab.cni != "none"):
        if time.monotonic() > deadline:
            raise LabError(f"lab {lab.name}: not ready: {', '.join(waiting)}")
        if waiting != last:
            say(f"waiting for {', '.join(waiting[:4])}{' ...' if len(waiting) > 4 else ''}")
            last = waiting
        time.sleep(1)
    everyone = len(boots) == len(lab.topology.machines)
    if lab.cni == "none":
        say("every kubelet and kube-proxy runs; what pods need comes with a CNI")
    else:
        say("every node is Ready, every pod runs" if everyone else f"Ready: {', '.join(boots)}")
