"""Running the tools of this computer: one place that turns a failed one into a LabError."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from underlay.errors import LabError
from underlay.lab.progress import Say

#: Tools that live in folders a user's PATH may lack.
_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"

#: command -> Debian package that carries it, for machines and networks.
LAB_PACKAGES: Mapping[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "tcpdump": "tcpdump",
}

#: command -> Debian package, for building Kubernetes from source.
BUILD_PACKAGES: Mapping[str, str] = {"go": "golang-go", "dpkg-source": "dpkg-dev"}


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> str:
    """Standard output of one command; LabError with the end of its error output when it fails."""
    words = [str(word) for word in command]
    environment = {**os.environ, "PATH": _PATH, **(env or {})}
    if cwd is not None:
        # Go resolves packages by the name of the folder, which a link hides unless PWD tells it
        environment["PWD"] = str(cwd)
    try:
        done = subprocess.run(
            words, cwd=cwd, env=environment, input=stdin, timeout=timeout,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError(f"{words[0]}: not installed on this computer; install it") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words[:4])}: no end after {timeout} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        shown = " ".join(words[:6])[:300]
        raise LabError(f"{shown}: exit code {done.returncode}\n{tail[-2000:]}")
    return done.stdout


def ensure(packages: Mapping[str, str], *, install: bool, say: Say) -> None:
    """Install the packages of missing commands by the machine's own apt, or name them."""
    missing = sorted(
        {p for command, p in packages.items() if not shutil.which(command, path=_PATH)}
    )
    if not missing:
        return
    if not install or os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(f"this computer lacks {', '.join(missing)}; install these packages")
    say(f"installing {', '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=quiet)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=quiet)
