"""That a link really stands: its children are made at once, from one gateway, and every one again.

The rule: what changed in a run and how its proof ended is known to all hosts of the link, because
each of them must keep or take back its own part.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from underlay import direct
from underlay.facts.ipsec import associations
from underlay.operations import outcome
from underlay.operations.ipsec_plan import HELPER, unlike
from underlay.operations.ipsec_tunnel import Tunnel

#: What the daemon's log says -> what it means; the first that is found counts.
REASONS = (
    (r"AUTHENTICATION_FAILED|tried \d+ shared keys? for .* but MAC mismatched",
     "authentication failed: the two sides have different secrets or identities; compare"
     " ipsec.links.{link}.{how} and the identities with what the far side has"),
    (r"no trusted|signature validation failed|no issuer certificate",
     "the far side's certificate is not trusted; compare ipsec.links.{link}.ca"),
    (r"no shared key found|no private key found",
     "no secret for these identities; compare the identities of ipsec.links.{link}"),
    (r"TS_UNACCEPTABLE",
     "the far side has other networks for child {child}; compare local_ts and remote_ts"),
    (r"(NO_PROPOSAL_CHOSEN|INVALID_KE_PAYLOAD|INVALID_SYNTAX)[^\n]*no CHILD_SA built"
     r"|CHILD_SA rekeying failed|no acceptable proposal found[^\n]*CHILD",
     "the far side takes none of esp_proposals {esp} for child {child}; compare cipher and key"
     " exchange (PFS)"),
    (r"NO_PROPOSAL_CHOSEN|INVALID_KE_PAYLOAD|no acceptable proposal",
     "the far side takes none of proposals {ike}; compare them"),
    (r"retransmit \d+ of request|not established after|giving up after|timed out|timeout",
     "no answer from {peer}; is it up, and do firewalls on the way let UDP 500 and 4500 and ESP"
     " pass"),
    (r"unable to resolve|name resolution", "{peer} cannot be resolved"),
)  # fmt: skip


@dataclass
class _Run:
    """What happened to links in one run: link -> whether its keys are new; link -> sentence.

    lost: hosts that had failed before the first one was changed, None until then.
    """

    changed: dict[str, bool] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    lost: frozenset[str] | None = None


_runs: WeakKeyDictionary[Inventory, _Run] = WeakKeyDictionary()


def _of(state: State) -> _Run:
    return _runs.setdefault(state.inventory, _Run())


def changed(state: State, link: str, *, fresh: bool) -> None:
    """A host of this link changes; fresh: the association must be made anew."""
    run = _of(state)
    run.changed[link] = run.changed.get(link, False) or fresh


def lost(state: State, link: Tunnel) -> list[str]:
    """Gateways of a link that had failed before any host was changed; the same for all hosts."""
    run = _of(state)
    failed = frozenset(other.name for other in state.failed_hosts)
    if run.lost is None and state.is_executing:
        run.lost = failed
    known = failed if run.lost is None else run.lost
    return [name for name in link.provers if name in known]


def held(state: State, link: str) -> None:
    """No host changes this link, whatever was planned before one of them failed."""
    _of(state).changed.pop(link, None)


def is_changed(state: State, link: str) -> bool:
    """Whether a host of this link has changed in this run."""
    return link in _of(state).changed


def failure(state: State, link: Tunnel) -> str:
    """Why the proof of a link failed, "" when it did not."""
    run = _of(state)
    found = run.failed.get(link.name, "")
    if not found and link.name in run.changed and state.is_executing and not prover(state, link):
        return f"{link.name}: none of its gateways is left in this run, so nothing could be proved"
    return found


def prover(state: State, link: Tunnel) -> str:
    """The gateway of ours that proves a link: the first that is in the run and has not failed."""
    for name in link.provers:
        other = state.inventory.get_host(name)
        if other is not None and state.is_host_in_limit(other) and other not in state.failed_hosts:
            return name
    return ""


def prove(state: State, host: Host, link: Tunnel, seconds: int) -> bool:
    """Make every child of a link; a failure is told to every host of it by `failure`."""
    run = _of(state)
    fresh = "fresh" if run.changed.get(link.name) else "kept"
    command = f"{HELPER} prove {shlex.quote(link.name)} {int(seconds)} {fresh}"
    ok, output = direct.run(host, command)
    live = associations(output.stdout_lines).get(link.name, {})
    narrowed = list(unlike(live, link)) if ok else []
    if ok and not narrowed:
        names = ", ".join(child.name for child in link.children)
        host.log(f"{host.name}: {link.name}: established with {link.peer} ({names})")
        if unforeseen_nat(output.stdout_lines, link):
            outcome.note(
                host,
                f"{host.name}: {link.name}: there is a NAT on the way, so that packets go in UDP,"
                f" which costs 8 bytes more than MTU {link.mtu} counts; set encapsulate: True in"
                f" ipsec.links.{link.name}, or behind_nat or local_address of the end behind it",
            )
        return True
    said = [*output.stdout_lines, *output.stderr_lines]
    sentence = narrowed[0] if narrowed else reason(said, link)
    run.failed[link.name] = sentence
    after = "stays as it is" if link.keep_unproved else "goes back to what was before"
    host.log(f"{host.name}: {sentence}; the link {after}", outcome.ERROR)
    # hosts must live to take their part back; `settled` ends them
    return True


def unforeseen_nat(lines: Sequence[str], link: Tunnel) -> bool:
    """Whether live children of a link go in UDP and the plan does not know it."""
    mine = [line for line in lines if line.startswith(f"list-sa event {{{link.name} ")]
    return not link.in_udp and any(re.search(r"\bencap=yes\b", line) for line in mine)


def reason(lines: Sequence[str], link: Tunnel) -> str:
    """One sentence from what the helper printed: `failed CHILD STEP`, then the daemon's log."""
    text = "\n".join(lines)
    head = re.search(r"^failed (\S+) (\S+)", text, re.MULTILINE)
    child, step = (head.group(1), head.group(2)) if head else (link.children[0].name, "")
    values = {
        "link": link.name, "how": link.secret, "child": child, "peer": link.peer,
        "ike": ", ".join(link.proposals),
        "esp": ", ".join(link.esp_proposals),
    }  # fmt: skip
    said = f"{link.name}: child {child} cannot be established with {link.peer}"
    for pattern, meaning in REASONS:
        if re.search(pattern, text):
            return f"{said}: {meaning.format(**values)}"
    if step == "renew":
        pfs = (
            "the far side refuses to renew child {child}; compare esp_proposals {esp}, above all"
            " whether it wants a key exchange (PFS)"
        )
        return f"{said}: {pfs.format(**values)}"
    if step == "waiting":
        return f"{said}: the far side, which must call, did not; look at its log"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "the host said nothing")
    return f"{said}: {last}"
