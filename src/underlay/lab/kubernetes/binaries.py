"""Where the Kubernetes binaries come from: a given folder, the cache, or Debian's source."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from underlay.errors import LabError
from underlay.lab.commands import run
from underlay.lab.kubernetes.version import Version, parse
from underlay.lab.progress import Say

NEEDED = (
    "kubeadm", "kubelet", "kube-proxy", "kube-apiserver", "kube-controller-manager",
    "kube-scheduler",
)  # fmt: skip


@dataclass(frozen=True)
class Binaries:
    """A folder with every program in NEEDED, all of one version."""

    directory: Path
    version: Version

    def path(self, name: str) -> Path:
        """One program."""
        return self.directory / name

    def digest(self, name: str) -> str:
        """What one program is, for keys of the cache: a folder can be filled anew."""
        return hashlib.sha256(self.path(name).read_bytes()).hexdigest()


def binaries(directory: Path | None, say: Say, *, install: bool) -> Binaries:
    """The binaries of a given folder, else those built from Debian's source package.

    install: packages that the build needs may be installed.
    """
    if directory is None:
        from underlay.lab.kubernetes.build import built

        directory = built(NEEDED, say, install=install)
    missing = [name for name in NEEDED if not (directory / name).is_file()]
    if missing:
        raise LabError(
            f"--kubernetes {directory}: lacks {', '.join(missing)}; put all of"
            f" {', '.join(NEEDED)} there"
        )
    return Binaries(directory.resolve(), parse(run([directory / "kubelet", "--version"])))
