"""Guards for plain `pyinfra INVENTORY deploys/x.py` runs, called by `config.py` of a project.

pyinfra ends in success when an inventory file does not exist, has no hosts, or a limit matches
nobody, and connects to hosts before a deploy can look at its settings. It runs `config.py` first
and then hands the inventory to the state of the run: the guard stands between those two.
"""

from __future__ import annotations

import sys
from typing import Any

from pyinfra.context import config, ctx_state

from underlay.errors import InventoryError, UnderlayError
from underlay.features.fleet import fleet_of
from underlay.liveness import tell_left_out, watch
from underlay.settings.placed import problems
from underlay.settings.problem import refuse


def guard() -> None:
    """Check inventory and settings before any host is connected; exit code 2 if they are wrong."""
    if not ctx_state.isset():  # type: ignore[no-untyped-call]
        # read by something else than a run, for example by a tool that wants the settings
        return
    # checked when `config.py` set it; pyinfra would check every installed package anew for each
    # host and deploy, which takes most of a run that changes nothing
    config.REQUIRE_PACKAGES = None
    state: Any = ctx_state.get()  # type: ignore[no-untyped-call]
    begin = state.init

    def checked(inventory: Any, config: Any, initial_limit: Any = None) -> None:
        try:
            check(inventory, initial_limit)
        except UnderlayError as error:
            print(f"underlay: {error}", file=sys.stderr)
            raise SystemExit(int(error.exit_code)) from error
        begin(inventory, config, initial_limit=initial_limit)
        watch(state)
        tell_left_out(state)

    state.init = checked


def check(inventory: Any, limit: Any) -> None:
    """InventoryError for a run about nobody, SettingsError for invalid settings of any host."""
    if len(inventory) == 0:
        refuse(problems(inventory.data))
        raise InventoryError("inventory: no such file, or no host in it; nothing was done")
    if limit is not None and not list(limit):
        names = ", ".join(host.name for host in inventory)
        raise InventoryError(f"--limit/--exclude: leaves nobody; the hosts are {names}")
    fleet_of(inventory)
