"""The one container image of a lab, made without a registry: an OCI archive with many names."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from underlay.lab.cache import cached, recipe
from underlay.lab.commands import run
from underlay.lab.image import bootstrap
from underlay.lab.kubernetes.binaries import Binaries
from underlay.lab.kubernetes.config import IMAGE_REPOSITORY
from underlay.lab.progress import Say

#: What kube-proxy calls in each of its modes, and what the echo workload and probes need.
PACKAGES = (
    "busybox-static", "iptables", "nftables", "ipset", "conntrack", "kmod", "ipvsadm", "curl",
    "ca-certificates", "python3-minimal",
)  # fmt: skip


def names(binaries: Binaries) -> tuple[str, ...]:
    """The names under which machines know the image."""
    return tuple(
        f"{IMAGE_REPOSITORY}/{name}"
        for name in ("node:lab", "pause:lab", f"kube-proxy:v{binaries.version}")
    )


def container_image(suite: str, binaries: Binaries, say: Say) -> Path:
    """An OCI archive; cached."""
    base = bootstrap(suite, "extract", PACKAGES, say)
    with as_file(files("underlay.lab") / "files") as scripts:
        texts = [(scripts / name).read_text() for name in ("container-root.sh", "echo.py")]
        inputs = [str(base), *texts, binaries.digest("kube-proxy"), *names(binaries)]

        def build(folder: Path) -> None:
            root = folder / "root"
            root.mkdir()
            run(["tar", "-C", root, "--numeric-owner", "-xf", base])
            run(["sh", scripts / "container-root.sh", root, scripts, binaries.path("kube-proxy")])
            layer = folder / "layer.tar"
            run(
                [
                    "tar",
                    "--sort=name",
                    "--mtime=@0",
                    "--numeric-owner",
                    "-C",
                    root,
                    "-cf",
                    layer,
                    ".",
                ]
            )
            _write_archive(folder / "image.tar", layer.read_bytes(), names(binaries))
            shutil.rmtree(root)
            layer.unlink()

        return cached("container", recipe(inputs), build, say) / "image.tar"


def _write_archive(target: Path, layer: bytes, image_names: Sequence[str]) -> None:
    """One layer, one config, one manifest, one index entry per name (OCI image layout 1.0)."""
    blobs: dict[str, bytes] = {}

    def put(media_type: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image"
    packed = put(f"{kind}.layer.v1.tar+gzip", gzip.compress(layer, 1, mtime=0))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": ["/pause"],
            "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created_by": "underlay lab"}],
    }
    body = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": put(f"{kind}.config.v1+json", json.dumps(config).encode()),
        "layers": [packed],
    }
    manifest = put(f"{kind}.manifest.v1+json", json.dumps(body).encode())
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                **manifest,
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                },
            }
            for name in image_names
        ],
    }
    with tarfile.open(target, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", json.dumps(index).encode())
        for digest, data in blobs.items():
            _add(tar, f"blobs/sha256/{digest}", data)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
