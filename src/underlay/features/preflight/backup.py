"""The backup of a CNI's configuration on this computer: its shape, and whether it can be restored.

One folder: `manifest.json`, below `hosts/NAME/` the files of each node as they were, and below
`cluster/` the objects of the CNI.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from underlay.errors import UsageError
from underlay.features.preflight.scene import Backup

MANIFEST = "manifest.json"


def digest(data: bytes) -> str:
    """What the manifest says of a file."""
    return hashlib.sha256(data).hexdigest()


def read_backup(folder: str) -> Backup:
    """What a folder holds; `taken` is None when it is no backup."""
    place = Path(folder)
    try:
        found = json.loads((place / MANIFEST).read_text())
        taken = datetime.fromisoformat(found["taken"])
        files = {str(path): str(value) for path, value in found["files"].items()}
        hosts = tuple(str(name) for name in found["hosts"])
    except FileNotFoundError:
        return Backup(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Backup(folder, None, (), (f"{MANIFEST} cannot be read: {error}",))
    objects = sum(path.startswith("cluster/") for path in files)
    return Backup(folder, taken, hosts, tuple(_problems(place, files)), objects)


def _problems(place: Path, files: dict[str, str]) -> list[str]:
    problems = []
    for name, wanted in files.items():
        try:
            data = (place / name).read_bytes()
        except OSError:
            problems.append(f"{name} is missing")
            continue
        if digest(data) != wanted:
            problems.append(f"{name} was changed after the backup")
        elif name.endswith((".conflist", ".conf", ".json")) and not _is_json(data):
            problems.append(f"{name} is not JSON")
    return problems


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def write_backup(
    folder: str,
    taken: datetime,
    hosts: Mapping[str, Mapping[str, bytes]],
    objects: Mapping[str, bytes] | None = None,
) -> int:
    """Write a backup in place of an earlier one; how many files it has. objects: of the cluster."""
    place = Path(folder)
    if place.exists() and not (place / MANIFEST).is_file() and any(place.iterdir()):
        raise UsageError(f"{folder}: is there and is no backup; choose another --output")
    new = place.with_name(f".{place.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    # rules and configuration of a cluster are nobody else's business, from the first file on
    new.mkdir(parents=True, mode=0o700)
    wanted = {
        f"hosts/{_folder(name)}/{path}": data
        for name, parts in hosts.items()
        for path, data in parts.items()
    }
    wanted.update({f"cluster/{path}": data for path, data in (objects or {}).items()})
    for target, data in wanted.items():
        (new / target).parent.mkdir(parents=True, exist_ok=True)
        (new / target).write_bytes(data)
    files = {target: digest(data) for target, data in wanted.items()}
    found = {"taken": taken.isoformat(), "hosts": list(hosts), "files": files}
    (new / MANIFEST).write_text(json.dumps(found, indent=2) + "\n")
    shutil.rmtree(place, ignore_errors=True)
    new.rename(place)
    return len(files)


def read_parts(folder: str, host: str) -> dict[str, bytes]:
    """What a backup holds of one host: path -> content."""
    return _below(Path(folder) / "hosts" / _folder(host))


def read_objects(folder: str) -> dict[str, bytes]:
    """What a backup holds of the cluster: path -> content."""
    return _below(Path(folder) / "cluster")


def _below(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def _folder(host: str) -> str:
    """A host's name as that of a folder: `..` is none."""
    plain = host.replace("/", "_")
    return f"_{plain}" if plain.strip(".") == "" else plain
