"""What the tests need from the machine, and how it is installed: by the machine's own apt.

The rule: each tier names the commands it calls; what is missing is installed as root, and a machine
where that is not possible leaves the tier out with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

NETNS_PACKAGES = (
    ("ip", "iproute2"),
    ("/usr/sbin/sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("sysctl", "procps"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("ping", "iputils-ping"),
    ("wg", "wireguard-tools"),
    ("wireguard-go", "wireguard-go"),
    ("tcpdump", "tcpdump"),
    ("birdcl", "bird2"),
    ("socat", "socat"),
    ("nc.openbsd", "netcat-openbsd"),
    ("ncat", "ncat"),
)

LAB_PACKAGES = (
    ("ip", "iproute2"),
    ("ssh", "openssh-client"),
    ("tcpdump", "tcpdump"),
)


def install(packages: Mapping[str, str]) -> str | None:
    """Install what is missing; None when all is there, else why not."""
    missing = sorted({package for command, package in packages.items() if not _there(command)})
    if not missing:
        return None
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"missing {', '.join(missing)}; install them"
    print(f"installing {', '.join(missing)}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
    ):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}"
    return None


def _there(command: str) -> bool:
    """A program by its name or path, or a file by its path that is no program."""
    if command.startswith("/"):
        return Path(command).exists()
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return shutil.which(command, path=search) is not None
