"""Container images from this computer into the machines of a lab, which reach no registry."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from underlay.errors import LabError
from underlay.lab import ssh
from underlay.lab.progress import Say
from underlay.lab.state import Lab

#: Where the kubelet looks: containerd's namespace of Kubernetes.
_IMPORT = "ctr -n k8s.io images import --digests=false -"


def load(lab: Lab, archives: Iterable[Path], say: Say) -> list[str]:
    """Import each archive on every machine; what containerd said, one line per image and machine.

    LabError names the machine and the archive when one is refused.
    """
    if not lab.kubernetes:
        raise LabError(
            f"lab {lab.name}: has no Kubernetes, so nothing runs images; make another lab"
        )
    names = [machine.name for machine in lab.topology.machines]
    told: list[str] = []
    for archive in archives:
        say(f"{archive.name}: to {', '.join(names)}")
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            for lines in pool.map(lambda name, path=archive: _one(lab, name, path), names):
                told += lines
    return told


def _one(lab: Lab, machine: str, archive: Path) -> list[str]:
    with archive.open("rb") as stream:
        done = subprocess.run(
            [*ssh.command(lab, machine), "--", _IMPORT],
            stdin=stream, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabError(
            f"{machine}: {archive}: is no archive of images that containerd takes: {said}"
        )
    return [f"{machine}: {line}" for line in done.stdout.splitlines() if line.strip()]
