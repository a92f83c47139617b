"""Kernel modules: which are loaded, built in, loadable, blacklisted or missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay import journal
from underlay.facts.script import ScriptFact

#: Names of older kernels for what is one module now: nf_conntrack_ipv4 was merged in 4.19.
OLDER_NAMES = {"nf_conntrack": ("nf_conntrack_ipv4",)}

MODULE_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,54}")


class ModuleState(str, Enum):
    """Where one module is on one host."""

    LOADED = "loaded"
    BUILT_IN = "built-in"
    LOADABLE = "loadable"
    BLOCKED = "blocked"
    MISSING = "missing"


@dataclass(frozen=True)
class KernelModules:
    """Modules of one host.

    release: of the running kernel; distribution: ID of os-release; states and blacklisted: by
    normalised name; parameters: `module.parameter` to its live value, absent when not readable;
    files: our own files by path; entries: our journal.
    """

    release: str
    distribution: str
    states: Mapping[str, ModuleState]
    blacklisted: frozenset[str]
    parameters: Mapping[str, str]
    files: Mapping[str, str]
    entries: tuple[journal.Entry, ...]


def normal(module: str) -> str:
    """The kernel treats `-` and `_` in a module's name as equal."""
    return module.replace("-", "_")


class Modules(ScriptFact[KernelModules | None]):
    """Everything the kernel_modules feature needs, in one command."""

    @override
    def command(
        self, modules: Iterable[str], parameters: Iterable[str], files: Iterable[str], change: str
    ) -> StringCommand:
        return self.run(readings(modules, parameters, files, change))

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> KernelModules:
        return parse(readings)


def readings(
    modules: Iterable[str], parameters: Iterable[str], files: Iterable[str], change: str
) -> dict[str, str]:
    """The shell text of each reading; modules and parameters are validated names.

    `modprobe -n` tells what a load would do, and resolves aliases; it changes nothing. Only modules
    that are not in /sys/module are asked for, because each question is a process.
    """
    names = " ".join(shlex.quote(normal(module)) for module in modules)
    wanted = " ".join(shlex.quote(name) for name in parameters)
    paths = " ".join(shlex.quote(path) for path in files)
    return {
        "release": "uname -r; . /etc/os-release; printf '%s\\n' \"$ID\"",
        "loaded": "while read -r name _; do printf '%s\\n' \"$name\"; done < /proc/modules",
        "there": f'for m in {names}; do [ -d "/sys/module/$m" ] && printf \'%s\\n\' "$m"; done',
        "would": (
            f'for m in {names}; do [ -d "/sys/module/$m" ] || {{ printf "%s " "$m";'
            " modprobe -n -v -- \"$m\" 2>&1 | tail -n 1 | tr '\\n' ' '; echo; }; done"
        ),
        "blacklist": "cat /etc/modprobe.d/*.conf /run/modprobe.d/*.conf /usr/lib/modprobe.d/*.conf"
        " /lib/modprobe.d/*.conf | grep -E '^[[:space:]]*blacklist[[:space:]]'",
        "parameters": (
            f"for p in {wanted}; do f=/sys/module/${{p%%.*}}/parameters/${{p#*.}};"
            ' [ -r "$f" ] && printf \'%s %s\\n\' "$p" "$(cat "$f")"; done'
        ),
        "files": f'for f in {paths}; do [ -f "$f" ] && sed "s|^|$f:|" "$f"; done',
        "journal": f"cat {shlex.quote(journal.path(change))}",
    }


def parse(found: Mapping[str, list[str]]) -> KernelModules:
    """From the lines of each reading."""
    release, distribution = (*found["release"], "", "")[:2]
    files: dict[str, str] = {}
    for line in found["files"]:
        path, _, text = line.partition(":")
        files[path] = files.get(path, "") + text + "\n"
    blacklisted = frozenset(
        normal(line.split()[1]) for line in found["blacklist"] if line.split()[1:]
    )
    parameters = dict(line.split(" ", 1) for line in found["parameters"] if " " in line)
    return KernelModules(
        release=release,
        distribution=distribution,
        states=states(found["loaded"], found["there"], found["would"]),
        blacklisted=blacklisted,
        parameters=parameters,
        files=files,
        entries=journal.parse(found["journal"]),
    )


def states(
    loaded: Iterable[str], there: Iterable[str], would: Iterable[str]
) -> dict[str, ModuleState]:
    """State by normalised name, from three readings."""
    names = {normal(line) for line in loaded}
    found: dict[str, ModuleState] = {}
    for module in there:
        found[module] = ModuleState.LOADED if module in names else ModuleState.BUILT_IN
    for line in would:
        module, _, answer = line.partition(" ")
        found[module] = _would(answer)
    return found


def _would(answer: str) -> ModuleState:
    """From the last line of `modprobe -n -v`."""
    words = answer.split()
    if not words:
        # nothing to do and not in /sys/module: built in without parameters
        return ModuleState.BUILT_IN
    if words[0] == "insmod":
        return ModuleState.LOADABLE
    if words[0] == "builtin":
        return ModuleState.BUILT_IN
    if words[0] == "install":
        return ModuleState.BLOCKED
    return ModuleState.MISSING
