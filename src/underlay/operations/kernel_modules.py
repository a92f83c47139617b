"""Kernel modules of a host: loaded now, loaded at boot, with their parameters.

The rule: our two files are whole and ours alone; what we loaded we unload when it is no longer
wanted and nobody uses it.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from underlay import journal
from underlay.conntrack import rounded
from underlay.facts.kernel import OLDER_NAMES, KernelModules, Modules, ModuleState, normal
from underlay.operations import outcome
from underlay.operations.files import append_entry, remove_file, write_file, write_files

LOAD_FILE = "/etc/modules-load.d/90-underlay.conf"
OPTIONS_FILE = "/etc/modprobe.d/90-underlay.conf"
CHANGE = "kernel_modules"

#: The one parameter that a running module takes; it reads back as whole pages of buckets.
HASHSIZE = "nf_conntrack.hashsize"

#: distribution -> package with the modules that its base kernel package leaves out
_PACKAGES = {
    "ubuntu": "linux-modules-extra-{release}",
    "rhel": "kernel-modules-extra",
    "centos": "kernel-modules-extra",
    "rocky": "kernel-modules-extra",
    "almalinux": "kernel-modules-extra",
    "fedora": "kernel-modules-extra",
    "debian": "linux-image-amd64",
}


@dataclass(frozen=True)
class Plan:
    """What to do on one host.

    files: path -> wanted text, None to remove; load, unload: modules; live: `module.parameter` to
    the value to write now; problems end the host's run; notes are told; given_back: parameters that
    have their old value again afterwards.
    """

    files: Mapping[str, str | None]
    load: tuple[str, ...]
    unload: tuple[str, ...]
    live: Mapping[str, str]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    given_back: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the host is as wanted already."""
        return not (self.files or self.load or self.unload or self.live or self.given_back)


@operation()
def modules(
    load_text: str, options_text: str, wanted: Sequence[str], options: Mapping[str, str]
) -> Generator[PyinfraCommand, None, None]:
    """
    Keep modules loaded, now and at boot.

    + load_text: content of our modules-load.d file, empty for none
    + options_text: content of our modprobe.d file, empty for none
    + wanted: module names
    + options: `module.parameter` to value
    """
    # what an earlier run loaded must be looked at too, to give it back
    found = host.get_fact(
        Modules, modules=tuple(wanted), parameters=tuple({**options, HASHSIZE: ""}),
        files=(LOAD_FILE, OPTIONS_FILE), change=CHANGE,
    )  # fmt: skip
    if found is None:
        return
    texts = {LOAD_FILE: load_text, OPTIONS_FILE: options_text}
    steps = plan(found, texts, tuple(normal(name) for name in wanted), options)
    for text in steps.notes:
        outcome.note(host, text)
    if steps.problems:
        yield from outcome.fail(*(f"{host.name}: {text}" for text in steps.problems))
    elif steps.empty:
        host.noop(f"{len(wanted)} modules are there and load at boot")
    else:
        for path, wanted_text in steps.files.items():
            outcome.show_change(host, path, found.files.get(path, ""), wanted_text or "")
        yield StringCommand("sh", "-c", shlex.quote(script(steps, found)))


def plan(
    found: KernelModules,
    texts: Mapping[str, str],
    wanted: Sequence[str],
    options: Mapping[str, str],
) -> Plan:
    """Compare a host with what is wanted."""
    problems, notes, load = [], [], []
    for module in wanted:
        state = found.states.get(module, ModuleState.MISSING)
        if state is ModuleState.LOADABLE:
            load.append(module)
        elif state is ModuleState.MISSING:
            problems.append(_missing(module, found))
        elif state is ModuleState.BLOCKED:
            problems.append(
                f"module {module}: an `install` line in modprobe.d replaces it; remove that line"
            )
        if module in found.blacklisted:
            notes.append(
                f"module {module} is blacklisted in modprobe.d: it is loaded now, but not at boot;"
                " remove the blacklist line"
            )
    ours = loaded_by_us(found.entries)
    files: dict[str, str | None] = {
        path: text or None for path, text in texts.items() if found.files.get(path, "") != text
    }
    live, told = _parameters(found, options, load)
    unload = tuple(name for name in ours if name not in wanted)
    # what we wrote goes back when the inventory no longer names it
    old = {name: v for name, v in written_by_us(found.entries).items() if name not in options}
    there = {name: v for name, v in old.items() if found.parameters.get(name) not in (None, v)}
    return Plan(
        files, tuple(load), unload, {**live, **there}, tuple(problems), (*notes, *told), tuple(old)
    )


def loaded_by_us(entries: Sequence[journal.Entry]) -> list[str]:
    """Modules that were not there before us and that we have not unloaded since."""
    ours: dict[str, None] = {}
    for entry in entries:
        for name in _names(entry.data.get("loaded")):
            ours[name] = None
        for name in _names(entry.data.get("unloaded")):
            ours.pop(name, None)
    return list(ours)


def written_by_us(entries: Sequence[journal.Entry]) -> dict[str, str]:
    """Parameters of running modules that we wrote and have not given back, to their old value."""
    old: dict[str, str] = {}
    for entry in entries:
        before = entry.data.get("written")
        for name, value in before.items() if isinstance(before, dict) else ():
            old.setdefault(str(name), str(value))
        for name in _names(entry.data.get("given_back")):
            old.pop(name, None)
    return old


def script(steps: Plan, found: KernelModules) -> str:
    """One shell text: journal, files, then the kernel; a module that fails undoes the files."""
    # what cannot be put back does not keep the rest from being so
    undo = "; ".join(f"( {_put(path, found.files.get(path))} ) || :" for path in steps.files) or ":"
    lines = ["set -e", f"undo() {{ {undo}; }}", _entry("loaded", steps.load)]
    wanted = {path: (text, "0644") for path, text in steps.files.items() if text is not None}
    lines += write_files(wanted)
    lines += [remove_file(path) for path, text in steps.files.items() if text is None]
    for module in steps.load:
        names = " || ".join(
            f"modprobe {shlex.quote(name)}" for name in (module, *OLDER_NAMES.get(module, ()))
        )
        lines.append(f"{names} || {{ undo; echo 'cannot load {module}; see dmesg' >&2; exit 1; }}")
    before = {
        name: found.parameters[name]
        for name in steps.live
        if name not in steps.given_back and name not in written_by_us(found.entries)
    }
    lines.append(_entry("written", before))
    for name, value in steps.live.items():
        module, _, parameter = name.partition(".")
        path = shlex.quote(f"/sys/module/{module}/parameters/{parameter}")
        refused = f"the kernel refused {name}={value}"
        lines.append(
            f"printf %s {shlex.quote(value)} > {path} ||"
            f" {{ undo; echo {shlex.quote(refused)} >&2; exit 1; }}"
        )
    for module in steps.unload:
        # one that is in use stays until the next boot
        lines.append(f"modprobe -r {shlex.quote(module)} 2>/dev/null || :")
    # after the fact: a run cut short before these lines does it again
    lines.append(_entry("given_back", steps.given_back))
    lines.append(_entry("unloaded", steps.unload))
    return "\n".join(line for line in lines if line)


def _entry(event: str, what: Sequence[str] | Mapping[str, str | None]) -> str:
    if not what:
        return ""
    data = dict(what) if isinstance(what, Mapping) else list(what)
    entry = journal.Entry(outcome.now(), outcome.RUN, event, {event: data})
    return append_entry(CHANGE, entry)


def _parameters(
    found: KernelModules, options: Mapping[str, str], load: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Parameters to write now, and notes for those that only a fresh load can change."""
    live: dict[str, str] = {}
    notes: list[str] = []
    for name, value in options.items():
        module = name.partition(".")[0]
        current = found.parameters.get(name)
        if name == HASHSIZE and value.isdigit() and current == str(rounded(int(value))):
            continue
        if module in load or current == value:
            continue
        if name == HASHSIZE:
            live[name] = value
        elif current is not None:
            notes.append(
                f"module parameter {name} is {current} and stays so until the module is loaded"
                f" afresh; reboot this host to get {value}"
            )
    return live, notes


def _missing(module: str, found: KernelModules) -> str:
    package = _PACKAGES.get(found.distribution)
    carried = (
        f"install the package {package.format(release=found.release)}"
        if package
        else "install the package of your distribution with extra kernel modules"
    )
    return f"module {module}: not in kernel {found.release}; {carried}, or take it out"


def _put(path: str, text: str | None) -> str:
    return remove_file(path) if text is None else write_file(path, text)


def _names(found: object) -> list[str]:
    return [str(name) for name in found] if isinstance(found, list) else []
