"""etcd from the computer's own distribution, unpacked and not installed.

Installing Debian's package would start an etcd of its own on this computer.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from underlay.lab import sources
from underlay.lab.cache import cached, recipe
from underlay.lab.commands import run
from underlay.lab.progress import Say


def etcd(say: Say) -> Path:
    """The etcd program: the one installed here, else the package's."""
    installed = shutil.which("etcd")
    if installed:
        return Path(installed)

    def build(folder: Path) -> None:
        if os.geteuid() == 0:
            run(["apt-get", "update", "-qq"])
        run(
            ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "etcd-server"],
            cwd=folder,
        )
        package = next(folder.glob("etcd-server_*.deb"))
        run(["dpkg-deb", "-x", package, folder])
        package.unlink()

    return cached("etcd", recipe([sources.own_sources()]), build, say) / "usr/bin/etcd"
