"""Public keys of the other members, read from their hosts while the run goes on.

The rule: keys are made everywhere before anybody asks. A member that cannot be asked keeps the key
that this host knows of it; one never seen fails this host alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from weakref import WeakKeyDictionary

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from underlay.facts.wireguard import PublicKeys
from underlay.facts.wireguard_host import FOLDER, Host
from underlay.operations import outcome
from underlay.operations.wireguard_plan import Interface, safe

#: Stands for a key that an earlier operation of this run will make.
TO_COME = "(made in this run)"


@dataclass
class _Asked:
    """What hosts answered: a hub is asked once, not once by every spoke."""

    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    locks: dict[str, Lock] = field(default_factory=dict)


#: Of a run, while it plans (False) and while it executes: keys may come in between.
_asked: WeakKeyDictionary[Inventory, dict[bool, _Asked]] = WeakKeyDictionary()


def of_peers(
    state: State, host: PyinfraHost, wanted: Sequence[Interface], found: Host
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Interface -> node -> public key, and what is missing, in sentences."""
    keys: dict[str, dict[str, str]] = {}
    problems: list[str] = []
    for interface in wanted:
        old = known(found.files.get(f"{FOLDER}/{interface.name}.peers", ""))
        own = keys[interface.name] = {}
        for peer in interface.peers:
            key = _ask(state, peer.node).get(interface.name, "")
            if not key and old.get(safe(peer.node)):
                key = old[safe(peer.node)]
                outcome.note(
                    host, f"{host.name}: {peer.node} cannot be asked; its known key is kept"
                )
            if not key and not state.is_executing:
                key = TO_COME
            if not key:
                problems.append(
                    f"{interface.name}: {peer.node} has no key, because it failed or was left"
                    f" out; repair it, or take it out of wireguard.overlays.{interface.name}.nodes"
                )
            own[peer.node] = key
    return keys, problems


def known(peers: str) -> dict[str, str]:
    """Peer's file name -> public key, from our file of an earlier run."""
    keys: dict[str, str] = {}
    node = ""
    for line in peers.splitlines():
        word, _, value = line.rpartition(" ")
        if word == "# node":
            node = value
        elif word == "PublicKey =" and node:
            keys[node] = value
    return keys


def _ask(state: State, name: str) -> dict[str, str]:
    """The public keys of one host.

    sshd allows 10 sessions of a connection: spokes that all ask at once would be refused.
    """
    of_run = _asked.setdefault(state.inventory, {})
    asked = of_run.setdefault(state.is_executing, _Asked())
    with asked.locks.setdefault(name, Lock()):
        if name not in asked.answers:
            asked.answers[name] = _read(state, name)
        return asked.answers[name]


def _read(state: State, name: str) -> dict[str, str]:
    other = state.inventory.get_host(name)
    if other is None or other in state.failed_hosts:
        return {}
    try:
        found = other.get_fact(PublicKeys)
    except Exception:
        return {}
    return dict(found or {})
