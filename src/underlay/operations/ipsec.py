"""IPsec links of a host: the daemon, the change, the proof, and the way back.

The rule: nothing is written before every refusal is known; one script makes the change, behind a
guard when it may cut the way in; a link that cannot be established brings its earlier files back
on every host it has, unless it was told to stay.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from underlay.facts.ipsec import IPsecHost
from underlay.facts.ipsec_host import Host
from underlay.operations import (
    guard,
    ipsec_proof,
    ipsec_script,
    ipsec_secrets,
    outcome,
)
from underlay.operations.ipsec_plan import (
    SHARED,
    Change,
    compare,
    shared_files,
)
from underlay.operations.ipsec_refusals import notes, path_may_change, refusals
from underlay.operations.ipsec_secrets import SecretFile
from underlay.operations.ipsec_tunnel import Tunnel
from underlay.operations.planned import OncePlanned

GUARD = "ipsec"
Steps = Generator[PyinfraCommand, None, None]


def _look() -> Host | None:
    found: Host | None = host.get_fact(IPsecHost, hashed=tuple(SHARED))
    return found


#: This host as it is.
read = OncePlanned(_look)


@dataclass(frozen=True)
class _Plan:
    """What one host's change consists of; fresh: links whose associations must be made anew."""

    changes: Mapping[Tunnel, Change]
    todo: Sequence[Tunnel]
    renewed: Sequence[str]
    fresh: set[str]
    gone: Sequence[str]
    secrets: Sequence[SecretFile]
    stale: Sequence[str]
    files: Mapping[str, tuple[str, str]]
    nothing: bool


@operation()
def daemon(wanted: Sequence[Tunnel]) -> Steps:
    """
    Refuse what cannot work on this host, then install and start strongSwan where it is a gateway.

    + wanted: the links this host has a part in
    """
    found = read()
    if found is None:
        return
    missing = not {"swanctl", "iptables", "iptables-restore", "ip"} <= found.tools
    gateway = any(link.gateway for link in wanted)
    installs = gateway and missing and "apt-get" in found.tools
    problems = refusals(found, wanted, installs=installs)
    if problems:
        yield from outcome.fail(*(f"{host.name}: {text}" for text in problems))
        return
    for text in notes(found, wanted):
        host.log(f"{host.name}: {text}")
    before = {
        "daemon": "active" if found.daemon_active else "inactive",
        "enabled": "yes" if found.daemon_enabled else "no",
    }
    if installs:
        outcome.note(host, f"{host.name}: installs {' '.join(ipsec_script.PACKAGES)}")
        # the package starts the daemon, and a run after this one must still know how it was
        text = f"set -e\n{ipsec_script.starting(before)}\n{ipsec_script.install()}"
        yield StringCommand("sh", "-c", shlex.quote(text))
    if gateway and not (found.daemon_active and found.daemon_enabled):
        text = f"set -e\n{ipsec_script.start_daemon(before)}"
        yield StringCommand("sh", "-c", shlex.quote(text))
    elif not installs:
        host.noop("the daemon runs, and starts at boot" if gateway else "no gateway")


@operation()
def links(wanted: Sequence[Tunnel], secrets: Sequence[SecretFile], guard_seconds: int) -> Steps:
    """
    Bring files, secrets, rules, routes and connections of this host to what its links need.

    + wanted: every link this host has a part in; what it has of others of ours is removed
    + secrets: the files that hold their secrets
    + guard_seconds: how long a change that may cut SSH has to prove itself
    """
    found = read()
    if found is None:
        return
    lacking = _lacking(found, wanted)
    differing = ipsec_secrets.differing(state, host, secrets)
    if differing is None:
        lacking.append("could not compare secrets on the host; coreutils and diffutils are needed")
    if lacking:
        yield from outcome.fail(*(f"{host.name}: {text}" for text in lacking))
        return
    held = _held(wanted)
    able = [link for link in wanted if link not in held]
    new = [file for file in differing or [] if file.link not in {link.name for link in held}]
    plan = _plan(found, wanted, able, new, _stale(found, able, secrets))
    if plan.nothing:
        host.noop(f"{len(wanted)} links are as wanted")
        return
    _show(found, plan)
    for link in plan.todo:
        ipsec_proof.changed(state, link.name, fresh=link.name in plan.fresh)
    text = _text(found, wanted, plan)
    forget = "\n".join(ipsec_script.kept_away(name) for name in plan.gone)
    if plan.secrets:
        yield FunctionCommand(ipsec_secrets.put, [plan.secrets], {})
    why = path_may_change(found, wanted, plan.gone)
    if not why:
        yield StringCommand("sh", "-c", shlex.quote(f"{text}\n{forget}"))
        return
    host.log(f"{host.name}: {why}; the host takes the change back unless SSH works afterwards")
    back = ipsec_script.restore([*(link.name for link in plan.todo), *plan.gone])
    armed = guard.arm(GUARD, guard_seconds, save=":", revert=back)
    guarded = f"set -e\n{armed}\n{text}\n{guard.released(GUARD)}"
    yield StringCommand("sh", "-c", shlex.quote(guarded))
    yield FunctionCommand(guard.confirm, [GUARD, guard_seconds], {})
    if plan.gone:
        yield StringCommand("sh", "-c", shlex.quote(forget))


@operation()
def proved(wanted: Sequence[Tunnel], seconds: int) -> Steps:
    """
    Establish every child of a link that changed, from one of its gateways.

    + wanted: the links this host has a part in
    + seconds: how long a link may need
    """
    mine = [
        link for link in wanted
        if link.gateway
        and ipsec_proof.is_changed(state, link.name)
        and ipsec_proof.prover(state, link) == host.name
    ]  # fmt: skip
    if not mine:
        host.noop("nothing to prove")
    for link in mine:
        yield FunctionCommand(ipsec_proof.prove, [link, seconds], {})


@operation()
def settled(wanted: Sequence[Tunnel]) -> Steps:
    """
    Forget what was before where a link is proved, bring it back where it is not and fail.

    + wanted: the links this host has a part in
    """
    mine = [link for link in wanted if ipsec_proof.is_changed(state, link.name)]
    if not mine:
        host.noop("nothing to settle")
        return
    lost = [
        link for link in mine if ipsec_proof.failure(state, link) and not link.keep_unproved
    ]  # fmt: skip
    good = [link.name for link in mine if link not in lost]
    text = "\n".join(map(ipsec_script.kept_away, good))
    if lost:
        text += "\n" + ipsec_script.restore([link.name for link in lost])
    yield StringCommand("sh", "-c", shlex.quote(text.strip()))
    sentences = [ipsec_proof.failure(state, link) for link in mine]
    if any(sentences):
        yield from outcome.fail(*(f"{host.name}: {text}" for text in sentences if text))


def _held(wanted: Sequence[Tunnel]) -> list[Tunnel]:
    """Links that this run cannot bring to their end, so that what is there must stay as it is."""
    held = []
    for link in wanted:
        names = ipsec_proof.lost(state, link)
        if names:
            held.append(link)
            ipsec_proof.held(state, link.name)
            text = f"stays as it is here, because {', '.join(names)} has failed"
            outcome.note(host, f"{host.name}: {link.name}: {text}")
    return held


def _lacking(found: Host, wanted: Sequence[Tunnel]) -> list[str]:
    """Algorithms that only a running daemon can tell of."""
    problems = []
    for link in wanted:
        lacks = sorted(link.algorithms - found.algorithms)
        if link.gateway and found.algorithms and lacks:
            problems.append(
                f"{link.name}: the daemon cannot do {', '.join(lacks)}; install"
                " libstrongswan-standard-plugins and libstrongswan-extra-plugins and restart"
                f" strongswan, or set other proposals in ipsec.links.{link.name}"
            )
    return problems


def _stale(found: Host, wanted: Sequence[Tunnel], secrets: Sequence[SecretFile]) -> list[str]:
    """Secret files of links that are wanted, which prove who they are in another way now."""
    used = {file.path for file in secrets}
    theirs = {path for link in wanted for path in ipsec_script.of_link(link.name)}
    return sorted(path for path in found.secrets if path in theirs and path not in used)


def _plan(
    found: Host,
    wanted: Sequence[Tunnel],
    able: Sequence[Tunnel],
    new: Sequence[SecretFile],
    stale: Sequence[str],
) -> _Plan:
    """What to do; able: those of the wanted links that may change."""
    changes = {link: compare(found, link) for link in able}
    with_secret = {file.link for file in new}
    with_secret |= {link.name for link in able if {*ipsec_script.of_link(link.name)} & {*stale}}
    todo = [link for link in able if changes[link].reasons or link.name in with_secret]
    # an association that an earlier run did not prove may come from the settings before it
    anew = with_secret | found.unproved
    renewed = [
        link.name for link in todo if link.gateway and (changes[link].renewed or link.name in anew)
    ]
    gone = sorted({*found.ours} - {link.name for link in wanted})
    # a removal that was cut short: the journal tells of files, the daemon and forwarding alike
    left = not wanted and bool(found.hashes or ipsec_script.unfinished(found.entries))
    files = shared_files(found) if wanted else {}
    return _Plan(
        changes=changes,
        todo=todo,
        renewed=renewed,
        fresh={*renewed, *(link.name for link in todo if link.name in found.unproved)},
        gone=gone,
        secrets=list(new),
        stale=stale,
        files=files,
        nothing=not (todo or gone or files or left),
    )


def _text(found: Host, wanted: Sequence[Tunnel], plan: _Plan) -> str:
    files = {**plan.files}
    for change in plan.changes.values():
        files.update(change.files)
    off = not found.ip_forward and any(link.gateway for link in wanted)
    text = ipsec_script.change(
        files, plan.todo, plan.renewed, plan.gone, plan.stale, forwarding_was_off=off
    )
    return text if wanted else f"{text}\n{ipsec_script.remove_all(found.entries)}"


def _show(found: Host, plan: _Plan) -> None:
    for name in plan.gone:
        host.log(f"{host.name}: {name}: not wanted here any more, will be removed")
    for file in plan.secrets:
        host.log(f"{host.name}: {file.path} is missing or differs")
    for path in plan.stale:
        host.log(f"{host.name}: {path} is not used any more, will be removed")
    for change in plan.changes.values():
        for reason in change.reasons:
            host.log(f"{host.name}: {reason}")
        for path, (text, _) in change.files.items():
            outcome.show_change(host, path, found.files.get(path, ""), text)
