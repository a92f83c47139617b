"""Kernel settings of a host: live now, and at boot through one file of ours.

The rule: what a key was before us is in the journal before it is changed, and comes back when the
key is no longer wanted. A value the kernel refuses undoes the whole change.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from underlay import conntrack, journal
from underlay.facts.sysctl import KernelSettings, Sysctls
from underlay.floor import raised
from underlay.operations import outcome
from underlay.operations.sysctl_script import CHANGE, PATH, Plan, script
from underlay.render import render

MAX = "net.netfilter.nf_conntrack_max"
BUCKETS = "net.netfilter.nf_conntrack_buckets"
NEIGHBOURS = tuple(f"net.ipv4.neigh.default.gc_thresh{number}" for number in (1, 2, 3))

#: Writing one of these, changed, resets keys with its prefix to defaults: it comes before them, and
#: they are written again even where they had the wanted value.
FIRST = {
    "net.ipv4.ip_forward": "net.ipv4.conf.",
    "net.ipv4.conf.all.forwarding": "net.ipv4.conf.",
    "net.ipv6.conf.all.forwarding": "net.ipv6.conf.",
}

#: Which module brings keys with this prefix.
MODULES = {
    "net.netfilter.": "nf_conntrack",
    "net.bridge.": "br_netfilter",
    "net.ipv4.vs.": "ip_vs",
}


@dataclass(frozen=True)
class Wanted:
    """One declared value.

    value: as written to the kernel, `auto` for a conntrack size; at_least: what a host has above it
    is kept, a newer kernel's default or an administrator's own value.
    """

    value: str
    at_least: bool = False


@operation()
def settings(wanted: Mapping[str, Wanted]) -> Generator[PyinfraCommand, None, None]:
    """
    Keep kernel settings, now and at boot.

    + wanted: key to declared value; an empty mapping gives back everything
    """
    keys = dict.fromkeys([*wanted, *_possibly_ours(wanted)])
    found = host.get_fact(Sysctls, keys=tuple(keys), path=PATH, change=CHANGE)
    if found is None:
        return
    restored = previous_values(found.entries)
    if set(restored) - set(found.values):
        # keys of an earlier run that are wanted no longer: their live values are needed too
        every = tuple(dict.fromkeys([*keys, *restored]))
        found = host.get_fact(Sysctls, keys=every, path=PATH, change=CHANGE) or found
    steps = plan(found, wanted)
    for text in steps.notes:
        outcome.note(host, text)
    if steps.problems:
        yield from outcome.fail(*(f"{host.name}: {text}" for text in steps.problems))
    elif steps.empty:
        host.noop(f"{len(wanted)} settings are live and in {PATH}")
    else:
        outcome.show_change(host, PATH, found.text or "", steps.text or "")
        before = "".join(f"{key} = {found.values.get(key, '')}\n" for key, _ in steps.live)
        after = "".join(f"{key} = {value}\n" for key, value in steps.live)
        outcome.show_change(host, "live values", before, after)
        yield StringCommand("sh", "-c", shlex.quote(script(steps, found)))


def plan(found: KernelSettings, wanted: Mapping[str, Wanted]) -> Plan:
    """Compare a host with what is declared."""
    problems = [text for key in wanted for text in _refusals(found, key)]
    if problems:
        return Plan(None, False, (), {}, (), tuple(problems))
    declared, notes = resolve(found, wanted)
    disorder = _disorder(declared)
    if disorder:
        return Plan(None, False, (), {}, (), (disorder,), tuple(notes))
    previous = previous_values(found.entries)
    gone = {key: value for key, value in previous.items() if key not in declared}
    text = render("sysctl/90-underlay.conf.j2", values=declared) if declared else None
    live = _writes(found, {**gone, **declared})
    before = {key: _before(found, key, wanted[key], previous) for key in declared}
    first_time = {key: value for key, value in before.items() if value != previous.get(key)}
    rewrite = text != found.text or bool(gone) or bool(first_time)
    told = (*notes, *_disputes(found, declared))
    return Plan(text, rewrite, live, first_time, tuple(sorted(gone)), (), told)


def _writes(found: KernelSettings, targets: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What to write to the kernel, in order."""
    changed = {key for key, value in targets.items() if found.values.get(key, value) != value}
    reset = tuple(prefix for key, prefix in FIRST.items() if key in changed)
    order = [key for key in FIRST if key in changed]
    order += [
        key
        for key in targets
        if key not in FIRST and key in found.values and (key in changed or key.startswith(reset))
    ]
    return tuple((key, targets[key]) for key in order)


def resolve(
    found: KernelSettings, wanted: Mapping[str, Wanted]
) -> tuple[dict[str, str], list[str]]:
    """The values to declare on this host, and notes where more than a minimum is kept."""
    declared: dict[str, str] = {}
    notes: list[str] = []
    previous = previous_values(found.entries)
    maximum = 0
    for key, setting in wanted.items():
        value = _sized(found, key, setting.value, maximum)
        if setting.at_least:
            before = _before(found, key, setting, previous)
            least, value = value, raised(key, before, value)
            if value != least:
                notes.append(_kept(key, before, value, least))
        if key == MAX:
            maximum = int(value)
        declared[key] = value
    return declared, notes


def _kept(key: str, before: str, value: str, least: str) -> str:
    if value == before:
        return f"{key}: was {before} before and is kept, because {least} is a minimum"
    return f"{key}: was {before} before; {value} keeps what is more than the minimum {least}"


def _sized(found: KernelSettings, key: str, value: str, maximum: int) -> str:
    """The same value, with the sizes of connection tracking as the kernel will have them."""
    if key == MAX and value == "auto":
        sized = conntrack.table_size(cores=found.cores, memory_bytes=found.memory)
        earlier = _in_our_file(found, key) or ""
        return str(conntrack.settled(sized, int(earlier) if earlier.isdigit() else None))
    if key == BUCKETS:
        return str(conntrack.buckets(maximum) if value == "auto" else conntrack.rounded(int(value)))
    return value


def _before(found: KernelSettings, key: str, setting: Wanted, previous: Mapping[str, str]) -> str:
    """What a key is without us: what it was when we came, or what it was raised to since.

    Where we hold a minimum and the live value is more than our file says, somebody else wants more.
    """
    live, ours = found.values[key], _in_our_file(found, key)
    if key not in previous:
        return live
    if setting.at_least and ours is not None and raised(key, live, ours) != ours:
        return live
    return previous[key]


def _in_our_file(found: KernelSettings, key: str) -> str | None:
    """What an earlier run declared."""
    for line in (found.text or "").splitlines():
        name, _, value = line.partition(" = ")
        if name == key:
            return value
    return None


def _disorder(declared: Mapping[str, str]) -> str:
    """Minimums beside exact values may leave the thresholds of neighbours out of order."""
    values = [declared[key] for key in NEIGHBOURS if declared.get(key, "").isdigit()]
    if len(values) < len(NEIGHBOURS) or values == sorted(values, key=int):
        return ""
    return (
        f"sysctl {NEIGHBOURS[0]}, 2 and 3 would be {', '.join(values)} here; each must be at least"
        " the one before: give all three in sysctl.values"
    )


def kube_proxy_size(found: KernelSettings) -> int | None:
    """What the kube-proxy that runs here computes for the table; None when it leaves it alone."""
    proxy = found.kube_proxy
    if proxy is None:
        return None
    return conntrack.kube_proxy_table_size(
        proxy.version, found.cores, proxy.max_per_core, proxy.minimum
    )


def previous_values(entries: Sequence[journal.Entry]) -> dict[str, str]:
    """What each key we still hold was before us."""
    held: dict[str, str] = {}
    for entry in entries:
        found = entry.data.get("previous")
        if isinstance(found, dict):
            held.update({str(key): str(value) for key, value in found.items()})
        restored = entry.data.get("restored")
        for key in restored if isinstance(restored, list) else []:
            held.pop(str(key), None)
    return held


def _refusals(found: KernelSettings, key: str) -> list[str]:
    if key not in found.values:
        module = next((m for prefix, m in MODULES.items() if key.startswith(prefix)), None)
        do = (
            f"load the module {module} first (deploys/kernel_modules.py)"
            if module
            else "check its spelling, or take it out for this kernel"
        )
        return [f"sysctl {key}: this kernel has no such setting; {do}"]
    if key in found.read_only:
        return [f"sysctl {key}: cannot be written here; set it on the host of this container"]
    return []


def _disputes(found: KernelSettings, declared: Mapping[str, str]) -> list[str]:
    """Who else sets a declared key, at boot or while it runs."""
    notes = []
    for key, value in declared.items():
        # our line names the key, so that no pattern reaches it
        ours_name = PATH.rpartition("/")[2]
        later = [
            line
            for line in found.lines
            if line.key == key and line.path.rpartition("/")[2] > ours_name
        ]
        if later and later[-1].value != value:
            line = later[-1]
            does = "takes it out" if line.value is None else f"sets {line.value}"
            notes.append(
                f"{key}: {line.path} sorts after ours and {does} at boot instead of {value};"
                " take the line out there"
            )
    return [*notes, *_kube_proxy(found, declared)]


def _kube_proxy(found: KernelSettings, declared: Mapping[str, str]) -> list[str]:
    """Releases differ in whether a lower computed value is written; a higher one always is."""
    computed = kube_proxy_size(found)
    if computed is None or MAX not in declared or str(computed) == declared[MAX]:
        return []
    verb = "raises it to" if computed > int(declared[MAX]) else "may lower it to"
    version = found.kube_proxy.version if found.kube_proxy else ""
    return [
        f"{MAX}: kube-proxy {version} {verb} {computed} at every start instead of"
        f" {declared[MAX]}; set conntrack.maxPerCore to 0 in its configuration"
    ]


def _possibly_ours(wanted: Mapping[str, Wanted]) -> list[str]:
    """Keys a value depends on without being declared."""
    return [MAX] if BUCKETS in wanted else []
