"""Kernel settings: live values, who sets them at boot, and what sizes the connection table."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay import journal
from underlay.facts.script import ScriptFact

#: A key as inventories write it: dots between parts; the dot of a VLAN eth0.100 is a slash.
KEY = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_/-]+)+")

#: Folders of systemd-sysctl, first wins for files of one name (sysctl.d(5)).
FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")


@dataclass(frozen=True)
class Line:
    """One line of a file of sysctl.d: `key` is a setting or a pattern.

    value: None for a line `-key`, which keeps patterns off that setting.
    """

    path: str
    key: str
    value: str | None


@dataclass(frozen=True)
class KubeProxyConntrack:
    """What a running kube-proxy does to the table: its version, and conntrack settings."""

    version: str
    max_per_core: int
    minimum: int


@dataclass(frozen=True)
class KernelSettings:
    """Settings of one host.

    values: key to live value, whitespace normalised; read_only: keys that cannot be written here;
    lines: every assignment at boot in the order it is applied; text: of our own file or None;
    entries: our journal; memory: bytes; kube_proxy: None when none answers.
    """

    values: Mapping[str, str]
    read_only: frozenset[str]
    lines: tuple[Line, ...]
    text: str | None
    entries: tuple[journal.Entry, ...]
    cores: int
    memory: int
    kube_proxy: KubeProxyConntrack | None


class Sysctls(ScriptFact[KernelSettings | None]):
    """Everything the sysctl feature needs, in one command."""

    @override
    def command(self, keys: Iterable[str], path: str, change: str) -> StringCommand:
        return self.run(readings(keys, path, change))

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> KernelSettings:
        return parse(readings)


def proc_path(key: str) -> str:
    """The file of a key below /proc/sys: dots and slashes trade places (sysctl.d(5))."""
    return "/proc/sys/" + key.translate(str.maketrans("./", "/."))


def key_of(path: str) -> str:
    """The key of a file below /proc/sys."""
    return path.removeprefix("/proc/sys/").translate(str.maketrans("./", "/."))


def readings(keys: Iterable[str], path: str, change: str) -> dict[str, str]:
    """The shell text of each reading; it starts no process per key."""
    paths = " ".join(shlex.quote(proc_path(key)) for key in keys)
    tables = " ".join(f"{folder}/*.conf" for folder in FOLDERS)
    return {
        # one process reads them all; a shell's own `read` takes single bytes, and a setting gives
        # its first byte only to such a reader
        "values": f"grep -sH '' {paths or '/dev/null'}",
        "read-only": f'for p in {paths}; do [ -w "$p" ] || printf \'%s\\n\' "$p"; done',
        # /etc/sysctl.conf counts only through a link: systemd-sysctl does not read it by itself.
        # A file without a line, for example a link to /dev/null, still hides others of its name.
        "boot": f'for f in {tables}; do [ -e "$f" ] && printf \'%s:\\n\' "$f"; done;'
        f" grep -HE '^[[:space:]]*-?[a-z]' {tables}",
        "ours": f"cat {shlex.quote(path)}",
        "journal": f"cat {shlex.quote(journal.path(change))}",
        "size": "getconf _NPROCESSORS_ONLN; while read -r k v _; do"
        " [ $k = MemTotal: ] && printf '%s\\n' $v; done < /proc/meminfo",
        "kube-proxy": (
            "grep -qs ':2809 ' /proc/net/tcp /proc/net/tcp6 &&"
            " { curl -s -m 2 http://127.0.0.1:10249/configz; echo;"
            " curl -s -m 2 http://127.0.0.1:10249/metrics | grep ^kubernetes_build_info; }"
        ),
    }


def parse(found: Mapping[str, list[str]]) -> KernelSettings:
    """From the lines of each reading."""
    values = {}
    for line in found["values"]:
        path, _, value = line.partition(":")
        values[key_of(path)] = " ".join(value.split())
    text = "\n".join(found["ours"]) + "\n" if found["ours"] else None
    if len(found["size"]) < 2:
        raise ValueError("the host did not tell its cores and its memory")
    cores, memory = (int(line) for line in found["size"][:2])
    return KernelSettings(
        values=values,
        read_only=frozenset(key_of(path) for path in found["read-only"]),
        lines=boot_order(found["boot"]),
        text=text,
        entries=journal.parse(found["journal"]),
        cores=cores,
        memory=memory * 1024,
        kube_proxy=_kube_proxy(found["kube-proxy"]),
    )


def boot_order(lines: Iterable[str]) -> tuple[Line, ...]:
    """Assignments in the order systemd-sysctl applies them: by file name, first folder wins."""
    by_file: dict[str, list[Line]] = {}
    for text in lines:
        path, _, rest = text.partition(":")
        found = by_file.setdefault(path, [])
        name, equals, value = rest.strip().partition("=")
        key = canonical(name.strip().removeprefix("-"))
        if equals:
            found.append(Line(path, key, " ".join(value.split())))
        elif name.startswith("-"):
            found.append(Line(path, key, None))
    chosen: dict[str, str] = {}
    for path in sorted(by_file, key=_folder_rank):
        chosen.setdefault(path.rpartition("/")[2], path)
    return tuple(line for name in sorted(chosen) for line in by_file[chosen[name]])


def canonical(key: str) -> str:
    """A key as `a.b.c`: when its first separator is a slash, slashes and dots trade places."""
    first = re.search(r"[./]", key)
    swap = first is not None and first.group() == "/"
    return key.translate(str.maketrans("./", "/.")) if swap else key


def at_boot(lines: Iterable[Line], key: str) -> list[Line]:
    """Every line that sets this key, the one that wins last.

    A line that names the key keeps every pattern off it, wherever it stands; of several such lines
    the last one holds, and a `-key` there leaves the kernel's own value.
    """
    named = [line for line in lines if line.key == key]
    patterns = [line for line in lines if line.value is not None and _matches(line.key, key)]
    if not named:
        return patterns
    if named[-1].value is None:
        return []
    return [*patterns, *(line for line in named if line.value is not None)]


def _matches(pattern: str, key: str) -> bool:
    """As glob(7) on the files below /proc/sys: `*` does not reach into the next folder."""
    if not re.search(r"[*?[]", pattern):
        return False
    asked, parts = proc_path(pattern).split("/"), proc_path(key).split("/")
    return len(asked) == len(parts) and all(map(fnmatchcase, parts, asked))


def _folder_rank(path: str) -> int:
    folder = path.rpartition("/")[0]
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


def _kube_proxy(lines: list[str]) -> KubeProxyConntrack | None:
    """From /configz and the build info metric; None when kube-proxy did not answer."""
    if not lines:
        return None
    try:
        config = json.loads(lines[0])["kubeproxy.config.k8s.io"]
        conntrack = config.get("conntrack") or config.get("Conntrack") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    version = re.search(r'gitVersion="([^"]+)"|git_version="([^"]+)"', " ".join(lines[1:]))
    name = (version.group(1) or version.group(2)) if version else ""
    return KubeProxyConntrack(
        name,
        int(conntrack.get("maxPerCore", conntrack.get("MaxPerCore", 32768)) or 0),
        int(conntrack.get("min", conntrack.get("Min", 131072)) or 0),
    )
