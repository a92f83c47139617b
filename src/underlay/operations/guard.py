"""The way back after a change that may cut SSH: armed on the host before, disarmed from outside.

The rule: only a connection made after the change disarms it. What is connected already says nothing
about whether anybody can come back.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Generator, Mapping
from typing import Any

from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import SSHClient
from pyinfra.context import host
from typing_extensions import override

from underlay.facts.guard import Guard, folder
from underlay.facts.guard import unit as unit_of
from underlay.facts.script import ScriptFact
from underlay.operations import outcome
from underlay.operations.files import write_file

#: Seconds between two attempts to come back, and for one attempt.
PAUSE, ATTEMPT = 1.0, 10
#: Seconds that the host may need to take a change back once its time is over.
SLACK = 60


def arm(name: str, seconds: int, *, save: str, revert: str) -> str:
    """Shell text that arms a guard; any earlier one of this name is replaced.

    save: shell text run now, in the guard's folder; revert: the same after `seconds`, unless the
    guard was disarmed. A timer of systemd does it, else a process of its own. The change follows in
    the same shell, which is ended first when it is still at work by then; `released()` ends it.
    """
    place = shlex.quote(folder(name))
    unit = shlex.quote(unit_of(name))
    # whoever renames the file first has decided
    text = (
        f"#!/bin/sh\ncd {place} || exit 1\nmv armed fired || exit 0\n"
        # a change that was cut leaves its number, which may be another process by now
        "[ ! -e pid ] || { read -r p began < pid;"
        ' [ "$(cut -d " " -f 22 /proc/$p/stat 2>/dev/null)" != "$began" ] || kill "$p"; }\n'
        f"{revert}\necho > reverted\n"
    )
    script = f"{folder(name)}/revert.sh"
    return "\n".join(
        [
            f"systemctl stop {unit}.timer {unit}.service 2>/dev/null || :",
            f"rm -rf {place}; mkdir -p -m 0700 {place}",
            f"( cd {place} && {{ {save}\n}} )",
            write_file(script, text, "0700"),
            f"echo $$ $(cut -d ' ' -f 22 /proc/$$/stat) > {place}/pid",
            f": > {place}/armed",
            "if [ -d /run/systemd/system ]; then"
            f" systemd-run --quiet --collect --unit={unit} --on-active={seconds}"
            f" --timer-property=AccuracySec=1s /bin/sh {shlex.quote(script)}; else"
            f" setsid sh -c 'sleep {seconds}; exec sh \"$1\"' sh {shlex.quote(script)}"
            " >/dev/null 2>&1 </dev/null & fi",
        ]
    )


def released(name: str) -> str:
    """Shell text that ends a guarded change: from here on there is nothing to stop."""
    return f"rm -f {shlex.quote(folder(name))}/pid"


def settle(
    name: str, found: Guard, seconds: int, done: str
) -> Generator[PyinfraCommand, None, None]:
    """End what an earlier run left of its guard when nothing else is to be done on this host.

    found: where it stands; done: what is said when there is none.
    """
    if found is Guard.ARMED:
        host.log(f"{host.name}: a run was cut before it had proved that SSH works after its change")
        yield FunctionCommand(confirm, [name, seconds], {})
    elif found is Guard.LEFT:
        yield StringCommand("sh", "-c", shlex.quote(forget(name, found)))
    else:
        host.noop(done)


def forget(name: str, found: Guard) -> str:
    """Shell text that removes what an ended guard had saved, "" when there is nothing."""
    return f"rm -rf {shlex.quote(folder(name))}" if found is Guard.LEFT else ""


def still_open(found: Guard) -> str:
    """Why a change needs a guard of its own, "" when nothing of an earlier run asks for it."""
    if found is Guard.ARMED:
        return "the guard of a run that was cut would take this change back with that one's"
    return ""


def at_work(found: Guard) -> list[str]:
    """Why nothing can be changed now."""
    if found is Guard.REVERTING:
        return ["takes the change of a run that was cut back right now; run again in a minute"]
    return []


class Disarm(ScriptFact[str]):
    """Disarm a guard: `disarmed`, or `reverted` when it was too late, or `reverting`.

    What it had saved goes with it, unless it is still needed.
    """

    @override
    def command(self, guard: str) -> StringCommand:
        place = shlex.quote(folder(guard))
        unit = shlex.quote(f"underlay-guard-{guard}")
        return self.run(
            {
                "state": (
                    f"cd {place} && if mv armed disarmed; then systemctl stop {unit}.timer;"
                    f" cd / && rm -rf {place}; echo disarmed;"
                    f" elif [ -e reverted ]; then cd / && rm -rf {place}; echo reverted;"
                    " else echo reverting; fi"
                )
            }
        )

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> str:
        return (readings["state"] or ["lost"])[0]


def confirm(state: State, host: Host, name: str, seconds: int) -> bool:
    """Come back through a new connection and disarm; False when the host took its change back."""
    deadline = time.monotonic() + seconds + SLACK
    told = False
    while time.monotonic() < deadline:
        if _connected_anew(host):
            found = host.get_fact(Disarm, guard=name)
            if found == "disarmed":
                host.log(f"{host.name}: came back through a new connection, guard disarmed")
                return True
            if found != "reverting":
                break
        elif not told:
            host.log(f"{host.name}: no new connection yet; the guard waits {seconds} s")
            told = True
        time.sleep(PAUSE)
    host.log(
        f"{host.name}: the change cut the way in for new connections, so the host took it back by"
        f" itself after {seconds} s; look for routes to this computer's address in the plan",
        outcome.ERROR,
    )
    return False


def _connected_anew(host: Host) -> bool:
    """Replace the connection by a new one; one that is only still open proves nothing."""
    connector: Any = host.connector
    if not isinstance(connector, SSHConnector):
        return True
    old = connector.client
    fresh = _attempt(connector)
    if not fresh:
        connector.client = old
        return False
    connector.disconnect()
    if old is not None:
        old.close()
    return True


def _attempt(connector: Any) -> bool:
    """One new connection of the connector; a failure is an answer, not an error."""
    arguments = {**connector.make_paramiko_kwargs(), "timeout": ATTEMPT, "banner_timeout": ATTEMPT}
    client: Any = SSHClient()
    try:
        client.connect(arguments.pop("hostname"), **arguments)
    except Exception:
        client.close()
        return False
    connector.client = client
    return True
