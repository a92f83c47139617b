"""Preshared keys: one per pair of members, made on this computer, in memory only.

The rule: a key goes to a host on standard input and into a file of mode 0600 in a folder of mode
0700; it is in no argument, no diff, no log and no file here.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Generator, Sequence

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host, state

from underlay import direct
from underlay.facts.wireguard import PresharedHashes
from underlay.facts.wireguard_host import FOLDER
from underlay.operations import outcome
from underlay.operations.wireguard_plan import Interface, safe

#: One key to share: interface, and the other member.
Pair = tuple[str, str]


@operation()
def keys(wanted: Sequence[Interface]) -> Generator[PyinfraCommand, None, None]:
    """
    Share a preshared key with each peer that has none or another one.

    + wanted: the interfaces of this host; of two members the first by name acts for both
    """
    pairs = [
        (interface.name, peer.node)
        for interface in wanted
        if interface.preshared
        for peer in interface.peers
        if host.name < peer.node
    ]
    missing = _differing(state, host, pairs) if pairs else []
    if missing:
        yield FunctionCommand(share, [missing], {})
    else:
        host.noop(f"{len(pairs)} preshared keys are in place")


def share(state: State, host: Host, pairs: Sequence[Pair]) -> bool:
    """Make a key for each pair and put it on both hosts, the other one first."""
    for interface, node in pairs:
        other = state.inventory.get_host(node)
        if other is None or other in state.failed_hosts or not other.connected:
            host.log(f"{host.name}: {node} is not there; no preshared key was made", outcome.ERROR)
            return False
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        done = _put(state, other, interface, host.name, secret) and _put(
            state, host, interface, node, secret
        )
        if not done:
            host.log(f"{host.name}: no preshared key with {node}; run again", outcome.ERROR)
            return False
        host.log(f"{host.name}: {interface}: new preshared key with {node}")
    return True


def _differing(state: State, host: Host, pairs: Sequence[Pair]) -> list[Pair]:
    own = host.get_fact(PresharedHashes) or {}
    theirs: dict[str, dict[tuple[str, str], str]] = {}
    for _, node in pairs:
        other = state.inventory.get_host(node)
        if node not in theirs and other is not None and other.connected:
            theirs[node] = other.get_fact(PresharedHashes) or {}
    return [
        (interface, node)
        for interface, node in pairs
        if node in theirs
        and (
            (interface, safe(node)) not in own
            or own[interface, safe(node)] != theirs[node].get((interface, safe(host.name)))
        )
    ]


def _put(state: State, host: Host, interface: str, node: str, secret: str) -> bool:
    folder = f"{FOLDER}/psk/{interface}"
    new, place = f"{folder}/.{safe(node)}.new", f"{folder}/{safe(node)}"
    script = (
        f"umask 077; mkdir -p -m 0700 {folder} && cat > {new} && [ -s {new} ] && sync {new}"
        f" && mv -f {new} {place}"
    )
    ok, _ = direct.run(host, script, secret)
    return ok
