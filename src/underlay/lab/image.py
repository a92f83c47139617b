"""The disk image of a lab machine: Debian from this computer's own apt sources, made once.

The rule: an image holds nothing that differs between machines or labs; that comes with the seed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

from underlay.lab import sources
from underlay.lab.cache import cached, recipe
from underlay.lab.commands import run
from underlay.lab.progress import Say

#: What every machine carries; the deploys install nothing from a mirror on a lab machine.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "openssh-server", "iproute2", "iputils-ping",
    "iptables", "ipset", "ipvsadm", "conntrack", "nftables", "tcpdump", "curl", "procps", "ethtool",
    "socat", "netcat-openbsd", "wireguard-tools", "wireguard-go", "strongswan-swanctl",
    "charon-systemd", "libstrongswan-standard-plugins", "libstrongswan-extra-plugins",
    "libcharon-extra-plugins",
    "chrony", "containerd", "runc", "containernetworking-plugins", "linux-image-cloud-amd64",
    "initramfs-tools", "busybox-static", "ca-certificates", "python3", "mount",
    "util-linux", "sudo", "iperf3",
)  # fmt: skip

#: Only the paths a container image does not need either.
_EXCLUDE = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")

DISK_SIZE = "6G"


def bootstrap(suite: str, variant: str, packages: tuple[str, ...], say: Say) -> Path:
    """A tar of these packages, from the computer's own sources; cached."""
    own = sources.own_suite()
    text = sources.for_suite(sources.own_sources(), own, suite)

    def build(folder: Path) -> None:
        say(f"unpacking {len(packages)} packages of {suite} and what they need")
        apt = folder / "apt.sources"
        apt.write_text(text)
        options = [f"--dpkgopt=path-exclude={path}" for path in _EXCLUDE]
        command = ["mmdebstrap", "--quiet", "--mode=root", f"--variant={variant}", *options]
        told = ['APT::Install-Recommends "false"', *sources.own_options()]
        command += [f"--aptopt={option}" for option in told]
        command += [f"--include={','.join(packages)}"]
        run([*command, suite, folder / "root.tar", apt])
        apt.unlink()

    return (
        cached("base", recipe([suite, variant, *packages, *_EXCLUDE, text]), build, say)
        / "root.tar"
    )


def node_image(
    suite: str,
    say: Say,
    *,
    extra: Mapping[str, Path | str] | None = None,
    identity: str = "",
    archive: Path | None = None,
) -> Path:
    """A folder with `disk.ext4`, `vmlinuz` and `initrd.img`.

    extra: path on the machine -> file to copy there, or its text; identity: what those files are,
    for the key of the cache; archive: OCI archive that is imported into the machine's containerd
    beforehand.
    """
    base = bootstrap(suite, "minbase", PACKAGES, say)
    with as_file(files("underlay.lab") / "files") as scripts:
        texts = [path.read_text() for path in sorted(scripts.iterdir()) if path.is_file()]
        given = [f"{target} {source}" for target, source in (extra or {}).items()]
        key = recipe([str(base), DISK_SIZE, *texts, *given, identity, str(archive or "")])

        def build(folder: Path) -> None:
            root = folder / "root"
            root.mkdir()
            run(["tar", "-C", root, "--numeric-owner", "-xf", base])
            for target, source in (extra or {}).items():
                place = root / target.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(source, Path):
                    shutil.copy(source, place)
                else:
                    place.write_text(source)
            say("configuring the node image")
            configure(scripts / "node-root.sh", root, scripts, *([archive] if archive else []))
            write_disk(root, folder)

        return cached(f"node-{suite}", key, build, say)


def configure(script: Path | str, *words: Path | str) -> None:
    """Run one of our scripts over the root of a machine, with mounts that end with it."""
    run(["unshare", "--mount", "--propagation", "private", "sh", script, *words])


def write_disk(root: Path, folder: Path) -> Path:
    """Turn a root into `disk.ext4`, `vmlinuz` and `initrd.img` in that folder; returns the disk."""
    shutil.copy(next((root / "boot").glob("vmlinuz-*")), folder / "vmlinuz")
    shutil.copy(next((root / "boot").glob("initrd.img-*")), folder / "initrd.img")
    disk = folder / "disk.ext4"
    run(["truncate", "-s", DISK_SIZE, disk])
    lazy = "lazy_itable_init=0,lazy_journal_init=0"
    run(["mkfs.ext4", "-q", "-F", "-E", lazy, "-d", root, disk])
    shutil.rmtree(root)
    return disk
