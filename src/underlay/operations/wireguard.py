"""WireGuard interfaces of a host, brought to what is wanted without dropping a live session.

The rule: keys are made on the host and stay there; one script makes every change of a host, behind
a guard when it may cut the way in.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from underlay import settings
from underlay.facts.wireguard import WireGuardHost
from underlay.facts.wireguard_host import FOLDER, Host
from underlay.operations import guard, outcome, wireguard_keys, wireguard_script
from underlay.operations.planned import OncePlanned
from underlay.operations.wireguard_plan import (
    SHARED,
    Change,
    Interface,
    compare,
    shared_files,
)
from underlay.operations.wireguard_refusals import cut_off, notes, refusals

GUARD = "wireguard"
Steps = Generator[PyinfraCommand, None, None]


def _look() -> Host | None:
    found: Host | None = host.get_fact(WireGuardHost, hashed=tuple(SHARED))
    return found


#: This host as it is.
read = OncePlanned(_look)


@operation()
def keys(wanted: Sequence[Interface]) -> Steps:
    """
    Refuse what cannot work on this host, then make the private keys that are missing, here.

    + wanted: its interfaces
    """
    found = read()
    if found is None:
        return
    lost = cut_off(found, wanted)
    if lost and not state.is_executing:
        # one host alone must not be refused: its peers would forget it meanwhile
        settings.refuse([settings.Problem(host.name, "wireguard.overlays", *lost)])
    problems = refusals(found, wanted) + guard.at_work(found.guard)
    if problems:
        yield from outcome.fail(*(f"{host.name}: {text}" for text in problems))
        return
    for text in notes(found, wanted):
        outcome.note(host, f"{host.name}: {text}")
    names = [interface.name for interface in wanted]
    opened = [name for name in names if name in found.open_keys]
    for name in opened:
        outcome.note(host, f"{host.name}: others could read the key of {name}; rotate it")
    missing = [name for name in names if name not in found.keys]
    if missing or opened:
        yield StringCommand("sh", "-c", shlex.quote(wireguard_script.make_keys(missing + opened)))
    else:
        host.noop("every interface has a key")


@operation()
def interfaces(wanted: Sequence[Interface], guard_seconds: int) -> Steps:
    """
    Bring the live interfaces, their files and units to what is wanted, and remove our others.

    + wanted: every interface this host should have
    + guard_seconds: how long a change that may cut SSH has to prove itself
    """
    found = read()
    if found is None:
        return
    known, problems = wireguard_keys.of_peers(state, host, wanted, found)
    if problems:
        yield from outcome.fail(*(f"{host.name}: {text}" for text in problems))
        return
    changes = {interface: compare(found, interface, known[interface.name]) for interface in wanted}
    gone = [name for name in found.ours if name not in {one.name for one in wanted}]
    files = shared_files(found) if wanted else {}
    todo = [interface for interface in wanted if changes[interface].reasons]
    if not (todo or gone or files or _leftovers(found, wanted)):
        done = f"{len(wanted)} interfaces are as wanted"
        yield from guard.settle(GUARD, found.guard, guard_seconds, done)
        return
    _show(found, changes, gone)
    for change in changes.values():
        files.update(change.files)
    off = not found.ip_forward and any(interface.forwards for interface in wanted)
    text = wireguard_script.change(files, todo, gone, forwarding_was_off=off)
    if not wanted:
        text += "\n" + wireguard_script.remove_all(found.entries)
    why = path_may_change(found, wanted, gone) or guard.still_open(found.guard)
    if not why:
        text += "\n" + guard.forget(GUARD, found.guard)
        yield StringCommand("sh", "-c", shlex.quote(text))
        return
    host.log(f"{host.name}: {why}; the host takes the change back unless SSH works afterwards")
    save, back = wireguard_script.revert()
    armed = guard.arm(GUARD, guard_seconds, save=save, revert=back)
    guarded = f"set -e\n{armed}\n{text}\n{guard.released(GUARD)}"
    yield StringCommand("sh", "-c", shlex.quote(guarded))
    yield FunctionCommand(guard.confirm, [GUARD, guard_seconds], {})


def path_may_change(found: Host, wanted: Sequence[Interface], gone: Sequence[str]) -> str:
    """Why this host's SSH may take another way after a change, "" when it cannot."""
    if found.ssh is None:
        return ""
    client, server = found.ssh
    for name in (*(one.name for one in wanted), *gone):
        link = found.links.get(name)
        if found.ssh_device == name:
            return f"replies to this computer ({client}) leave by {name}"
        if link and server in {address.partition("/")[0] for address in link.addresses}:
            return f"SSH arrives at {server}, the address of {name}"
    for interface in wanted:
        through = (str(ip_network(interface.address, strict=False)), *interface.routes)
        for network in through:
            if ip_address(client) in ip_network(network):
                return f"{client}, this computer, lies in {network} behind {interface.name}"
    return ""


def _leftovers(found: Host, wanted: Sequence[Interface]) -> bool:
    """Whether a removal was cut short: files, or a journal that does not tell of its end."""
    open_ = bool(found.entries) and found.entries[-1].event != "removed"
    return not wanted and bool(found.hashes or found.keys or open_)


def _show(found: Host, changes: Mapping[Interface, Change], gone: Sequence[str]) -> None:
    for name in gone:
        host.log(f"{host.name}: {name}: not wanted here any more, will be removed")
    for change in changes.values():
        for reason in change.reasons:
            host.log(f"{host.name}: {reason}")
        for path, (text, _) in change.files.items():
            if path.startswith(FOLDER):
                outcome.show_change(host, path, found.files.get(path, ""), text)
