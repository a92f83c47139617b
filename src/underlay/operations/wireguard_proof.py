"""Whether the peers that a host can call answer, asked once everybody has its interface.

The rule: a peer that says nothing is told, and fails nobody: it may be down, or not of this run.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from underlay.facts.wireguard import WireGuardHost
from underlay.facts.wireguard_host import FOLDER
from underlay.operations import outcome
from underlay.operations.wireguard_keys import known
from underlay.operations.wireguard_plan import Interface, safe
from underlay.operations.wireguard_rotation import Ran, silent


@operation()
def answers(wanted: Sequence[Interface]) -> Generator[FunctionCommand, None, None]:
    """
    Ask every peer with an endpoint for an answer through the tunnel, and tell who gives none.

    + wanted: the interfaces of this host
    """
    yield FunctionCommand(ask, [wanted], {})


def ask(state: State, host: Host, wanted: Sequence[Interface]) -> bool:
    """Ask the peers of each interface; always True, because a silent one fails nobody."""
    found = host.get_fact(WireGuardHost, hashed=())
    for interface in wanted:
        text = found.files.get(f"{FOLDER}/{interface.name}.peers", "") if found else ""
        keys = known(text)
        asked = {peer.node: peer for peer in interface.peers if peer.endpoint}
        sessions = {
            node: (keys[safe(node)], peer.address)
            for node, peer in asked.items()
            if safe(node) in keys
        }
        # without ping nothing would make a quiet peer speak
        script = f"command -v ping >/dev/null || exit 0\n{silent(interface.name, sessions)}"
        for node in host.get_fact(Ran, script=script) or []:
            where = asked[node].endpoint if node in asked else ""
            outcome.note(
                host,
                f"{host.name}: {interface.name}: {node} ({where}) gives no answer through the"
                " tunnel; something on the way drops UDP to it (a security group, a firewall), or"
                f" wireguard.overlays.{interface.name}.nodes.{node} names another place",
            )
    return True
