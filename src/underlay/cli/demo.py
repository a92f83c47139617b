"""`underlay demo`: the main job on a lab of real machines, each command shown as a user types it.

The rule: what the demo claims, it reads back from the machines; a step that did not do what its
title says ends the demo with exit code 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from underlay.errors import UnderlayError

#: The lab the demo makes for itself, so that a lab in use is left alone.
LAB = "demo"

_MODE = ("underlay", "lab", "exec", "--", "curl", "-s", "http://127.0.0.1:10249/proxyMode")
_LEFTOVERS = (
    "underlay", "lab", "exec", "--",
    "sh", "-c",
    "echo virtual servers: $(ipvsadm -Ln | grep -c -E '^(TCP|UDP|SCTP)');"
    " echo kube-ipvs0: $(ip -o link show kube-ipvs0 2>/dev/null | wc -l);"
    " echo IPVS sets: $(ipset list -n | grep -c ^KUBE-)",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One command of the demo; `shows` must be in its output."""

    title: str
    command: tuple[str, ...]
    shows: str = ""


STEPS = (
    Step("Three real machines with a real Kubernetes", ("underlay", "lab", "up", "--name", LAB)),
    Step("What every host will get", ("underlay", "settings", "inventory.py"), "kube_proxy"),
    Step("Load the kernel modules", ("pyinfra", "-y", "inventory.py", "deploys/kernel_modules.py")),
    Step("Tune the nodes", ("pyinfra", "-y", "inventory.py", "deploys/sysctl.py")),
    Step("Which mode kube-proxy runs in", _MODE, "iptables"),
    Step("The plan", ("pyinfra", "--dry", "inventory.py", "deploys/ipvs_migrate.py")),
    Step(
        "Migrate node by node, each one proved before the next",
        ("pyinfra", "-y", "inventory.py", "deploys/ipvs_migrate.py"),
    ),
    Step("The mode each kube-proxy reports now", _MODE, "ipvs"),
    Step(
        "What was proved on each node, and what a client missed meanwhile",
        ("underlay", "journal", "inventory.py", "--change", "kube_proxy"),
        "committed",
    ),
    Step("Go back", ("pyinfra", "-y", "inventory.py", "deploys/ipvs_rollback.py")),
    Step("The mode after the rollback", _MODE, "iptables"),
    Step("Nothing of IPVS is left", _LEFTOVERS, "kube-ipvs0: 0"),
)


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the lab running at the end.")
def command(*, keep: bool) -> None:
    """Migrate a lab cluster to IPVS and back, with every command shown.

    \b
    underlay demo
    underlay demo --keep        then: UNDERLAY_LAB=demo underlay lab ssh w1

    Run it in a checkout. The lab is called `demo` and is removed at the end.
    """
    if not Path("deploys/ipvs_migrate.py").is_file():
        raise click.UsageError("no deploys/ipvs_migrate.py here; run it in a checkout of underlay")
    started = time.monotonic()
    try:
        for number, step in enumerate(STEPS, start=1):
            _heading(f"{number}/{len(STEPS)}  {step.title}")
            _run(step)
    finally:
        if not keep:
            _heading("Remove the lab")
            _call(("underlay", "lab", "down", "--name", LAB))
    _heading(f"Migrated and rolled back in {time.monotonic() - started:.0f} s")


def _heading(text: str) -> None:
    click.secho(f"\n== {text}", bold=True)


def _run(step: Step) -> None:
    code, output = _call(step.command)
    if code != 0:
        raise UnderlayError(f"demo: `{_typed(step.command)}` ended with exit code {code}")
    if step.shows not in output:
        raise UnderlayError(f"demo: {step.title}: the output does not show {step.shows!r}")


def _call(command: Sequence[str]) -> tuple[int, str]:
    """Run one command, its output shown as it comes and kept to be judged."""
    click.echo(f"$ {_typed(command)}")
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "UNDERLAY_LAB": LAB,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: list[str] = []
    for line in process.stdout or ():
        click.echo(line, nl=False)
        lines.append(line)
    return process.wait(), "".join(lines)


def _typed(command: Sequence[str]) -> str:
    """The command as a person types it, long shell text cut."""
    text = " ".join(command)
    return text if len(text) <= 100 else f"{text[:97]}..."
