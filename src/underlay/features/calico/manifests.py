"""Upstream's manifests: from a URL, a folder or the cache, and only with the sum that is pinned."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3
import yaml

from underlay.errors import ManifestError

URL = "https://raw.githubusercontent.com/projectcalico/calico/{version}/manifests"

#: Where upstream's manifests say that images are; the second is of canal's flannel.
REGISTRIES = ("quay.io/", "docker.io/")


def cache_folder() -> Path:
    """Where manifests are kept on this computer, by release."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "underlay" / "calico"


def text(name: str, *, version: str, wanted: str, source: str | None) -> bytes:
    """One file whose sha256 is `wanted`; ManifestError when none can be had.

    source: URL or folder that holds the file, or a folder of that release in it.
    """
    if source is not None and "://" not in source:
        place = Path(source).expanduser()
        for path in (place / name, place / version / name):
            if path.is_file():
                return _checked(path.read_bytes(), wanted, str(path))
        raise ManifestError(f"calico.manifests: no {name} in {place}; put it there")
    cached = cache_folder() / version / name
    if cached.is_file() and hashlib.sha256(cached.read_bytes()).hexdigest() == wanted:
        return cached.read_bytes()
    url = f"{(source or URL.format(version=version)).rstrip('/')}/{name}"
    found = _checked(_fetch(url), wanted, url)
    cached.parent.mkdir(parents=True, exist_ok=True)
    new = cached.with_name(f".{name}.new")
    new.write_bytes(found)
    new.replace(cached)
    return found


def _fetch(url: str) -> bytes:
    try:
        answer = urllib3.PoolManager().request(
            "GET", url, timeout=urllib3.Timeout(60), retries=urllib3.Retry(2)
        )
    except urllib3.exceptions.HTTPError as error:
        raise ManifestError(
            f"{url}: no answer ({error}); put the file into a folder and name that in"
            " calico.manifests"
        ) from error
    if answer.status != 200:
        raise ManifestError(f"{url}: status {answer.status}; correct calico.version or manifests")
    return bytes(answer.data)


def _checked(found: bytes, wanted: str, where: str) -> bytes:
    got = hashlib.sha256(found).hexdigest()
    if got != wanted:
        raise ManifestError(
            f"{where}: its sha256 is {got} and not {wanted}; it is not the file that was checked,"
            " do not use it"
        )
    return found


def objects(found: bytes, registry: str | None) -> list[dict[str, Any]]:
    """The objects of a manifest, images from `registry` in place of upstream's.

    Without `status`, which some definitions of upstream carry and the server owns.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    every = [
        {key: value for key, value in one.items() if key != "status"}
        for one in yaml.load_all(found, loader)
        if one
    ]
    return [_moved(one, registry) for one in every] if registry else every


def _moved(found: Any, registry: str) -> Any:
    """Every `image` of an object from another registry."""
    if isinstance(found, Mapping):
        return {
            key: image(value, registry)
            if key == "image" and isinstance(value, str)
            else _moved(value, registry)
            for key, value in found.items()
        }
    return [_moved(one, registry) for one in found] if isinstance(found, list) else found


def image(name: str, registry: str) -> str:
    """An image from another registry; one that is not upstream's stays."""
    known = next((start for start in REGISTRIES if name.startswith(start)), None)
    return f"{registry.rstrip('/')}/{name.removeprefix(known)}" if known else name
