"""A Vagrant box for libvirt: the disk of a lab machine with the user that Vagrant logs in as.

The rule: like every image of a lab it comes from this computer's own apt sources, so that it can be
made where nothing else can be downloaded. It has no boot loader; its own Vagrantfile starts the
kernel that lies beside the disk.
"""

from __future__ import annotations

import json
import os
from importlib.resources import as_file, files
from pathlib import Path

from underlay.errors import LabError
from underlay.lab import image, sources
from underlay.lab.cache import cached, recipe
from underlay.lab.commands import LAB_PACKAGES, ensure, run
from underlay.lab.progress import Say

#: What `vagrant box add` unpacks, the metadata first.
_MEMBERS = ("metadata.json", "Vagrantfile", "vmlinuz", "initrd.img", "box.img")
#: The commands of a lab that make no images.
_OTHERS = ("qemu-system-x86_64", "ip", "ssh", "tcpdump")


def box(suite: str | None, say: Say, *, install: bool = True) -> Path:
    """The box file of a suite (None: this computer's own); made once and kept in the cache."""
    if os.geteuid() != 0:
        raise LabError("underlay lab box: needs root to unpack a system; run it with sudo")
    needed = {name: package for name, package in LAB_PACKAGES.items() if name not in _OTHERS}
    ensure(needed, install=install, say=say)
    suite = suite or sources.own_suite()
    base = image.bootstrap(suite, "minbase", image.PACKAGES, say)
    with as_file(files("underlay.lab") / "files") as scripts:
        own = scripts / "box"
        texts = [
            path.read_text()
            for folder in (scripts, own)
            for path in sorted(folder.iterdir())
            if path.is_file()
        ]

        def build(folder: Path) -> None:
            root = folder / "root"
            root.mkdir()
            run(["tar", "-C", root, "--numeric-owner", "-xf", base])
            say("configuring the box")
            image.configure(scripts / "node-root.sh", root, scripts)
            image.configure(own / "box-root.sh", root, own)
            disk = image.write_disk(root, folder)
            _pack(folder, disk, (own / "Vagrantfile").read_text())

        key = recipe([str(base), image.DISK_SIZE, *texts])
        return cached(f"box-{suite}", key, build, say) / "underlay.box"


def _pack(folder: Path, disk: Path, vagrantfile: str) -> None:
    """`underlay.box` in that folder, and nothing else."""
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, folder / "box.img"])
    disk.unlink()
    size = int(image.DISK_SIZE.removesuffix("G"))
    about = {"provider": "libvirt", "format": "qcow2", "virtual_size": size}
    (folder / "metadata.json").write_text(json.dumps(about))
    (folder / "Vagrantfile").write_text(vagrantfile)
    # not compressed: that costs a minute, and Vagrant takes either
    run(["tar", "-C", folder, "-cf", folder / "underlay.box", *_MEMBERS])
    for name in _MEMBERS:
        (folder / name).unlink()
