"""An inventory of pyinfra, loaded and connected inside this process.

The rule: this is the only module that imports `pyinfra_cli`, where pyinfra keeps its loader of
inventory files. Nothing is never a result: no file, no host and a limit that matches nobody are
errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from underlay.errors import InventoryError, UnreachableError
from underlay.settings.placed import problems
from underlay.settings.problem import refuse

#: What is told of a work that lasts: step, done, of.
Say = Callable[[str, int, int], None]


def _nothing(step: str, done: int, of: int) -> None:
    """Nobody is told."""


def load(path: str, data: Mapping[str, object] | None = None) -> Any:
    """The inventory of a file with its group_data, not connected; a `pyinfra.api.Inventory`."""
    # importing pyinfra_cli patches the process for gevent, which no other command needs
    from pyinfra_cli.inventory import make_inventory  # isort: skip

    from pyinfra.api.config import Config
    from pyinfra.api.state import State
    from pyinfra.context import ctx_config, ctx_state

    if not Path(path).is_file():
        raise InventoryError(
            f"inventory: no such file (got {path!r}); give the path of an inventory"
        )
    # the loader runs inventory files in the context of a run, which there is none of yet
    with ctx_state.use(State()), ctx_config.use(Config()):  # type: ignore[no-untyped-call]
        found = make_inventory(path, override_data=dict(data or {}), cwd=str(Path.cwd()))
    if len(found) == 0:
        refuse(problems(found.data))
        raise InventoryError(f"inventory {path}: has no host; add a list of hosts to it")
    return found


def chosen(inventory: Any, limit: Sequence[str]) -> list[Any]:
    """Hosts by name or group, in inventory order; InventoryError when a limit matches nobody."""
    if not limit:
        return list(inventory)
    names = set()
    for word in limit:
        group = [host.name for host in inventory.groups.get(word, [])]
        if not group and word not in inventory.hosts:
            known = ", ".join([*inventory.groups, *inventory.hosts])
            raise InventoryError(f"--host {word}: matches nobody; use one of {known}")
        names.update(group or [word])
    return [host for host in inventory if host.name in names]


@contextmanager
def connected(
    inventory: Any, limit: Sequence[str] = (), say: Say = _nothing
) -> Iterator[list[Any]]:
    """The chosen hosts, connected; UnreachableError names every host that cannot be reached."""
    with reached(inventory, limit, say) as (hosts, lost):
        if lost:
            names = ", ".join(lost)
            raise UnreachableError(f"{names}: not reachable; check address and key")
        yield hosts


@contextmanager
def reached(
    inventory: Any, limit: Sequence[str] = (), say: Say = _nothing
) -> Iterator[tuple[list[Any], dict[str, str]]]:
    """The chosen hosts that could be connected, and why each of the others could not."""
    from pyinfra.api.config import Config
    from pyinfra.api.connect import connect_all, disconnect_all
    from pyinfra.api.exceptions import PyinfraError
    from pyinfra.api.state import State, StateStage
    from pyinfra.context import ctx_config, ctx_inventory, ctx_state

    from underlay.liveness import tell, watch, why_lost

    hosts = chosen(inventory, limit)
    config = Config()  # type: ignore[no-untyped-call]
    state = State()
    state.init(inventory, config, initial_limit=hosts)
    watch(state)
    tell(state, lambda done: say("connecting", done, len(hosts)))
    reasons = why_lost(state)
    state.set_stage(StateStage.Connect)
    say("connecting", 0, len(hosts))
    with ctx_state.use(state), ctx_config.use(config), ctx_inventory.use(inventory):
        # with nobody left it raises, which is what callers see from the second list
        with suppress(PyinfraError):
            connect_all(state)
        try:
            state.set_stage(StateStage.Prepare)
            yield (
                [host for host in hosts if host.connected],
                {
                    host.name: reasons.get(host.name, "no connection")
                    for host in hosts
                    if not host.connected
                },
            )
        finally:
            disconnect_all(state)
