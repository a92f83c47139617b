"""What `config.py` of a project leaves behind for a run."""

from __future__ import annotations

from pyinfra.api.config import Config
from pyinfra.api.state import State
from pyinfra.context import ctx_config, ctx_state

from underlay.run_guard import guard


def test_installed_packages_are_checked_once_and_not_for_every_host() -> None:
    found = Config(REQUIRE_PACKAGES=["underlay"])  # type: ignore[no-untyped-call]
    with ctx_state.use(State()), ctx_config.use(found):
        guard()
    assert not found.copy().REQUIRE_PACKAGES
