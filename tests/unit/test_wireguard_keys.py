"""Keys of peers are asked for once in a run, and anew in the next run of the same process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pyinfra.context import ctx_state, state

from underlay.operations import wireguard_keys
from underlay.operations.wireguard_plan import Interface, Peer

WANTED = Interface(
    name="wg0", address="10.200.0.1/24", port=51820, mtu=1420, routes=(), forwards=False,
    opens=False, opens_v6=False, preshared=False, peers=(Peer("hub", ("10.200.0.100/32",)),),
)  # fmt: skip


class State:
    """A run whose hub has this key. Its hash is that of a run that is over."""

    def __init__(self, key: str) -> None:
        self.asked = 0
        self.is_executing = True
        self.failed_hosts: set[object] = set()
        self.key = key
        self.inventory = Inventory(self)

    def __hash__(self) -> int:
        return 1

    def get_fact(self, _: object) -> dict[str, str]:
        """The hub's public keys."""
        self.asked += 1
        return {"wg0": self.key}


class Inventory:
    """The hosts of one run, as an object of its own."""

    def __init__(self, run: State) -> None:
        self.run = run

    def get_host(self, _: str) -> State:
        """Whoever is asked for answers as the run does."""
        return self.run


def key_of_hub() -> str:
    """As an operation asks, by pyinfra's stand-in for the state."""
    found: Any = SimpleNamespace(files={})
    host: Any = SimpleNamespace(name="w1")
    keys, problems = wireguard_keys.of_peers(state, host, [WANTED], found)
    assert problems == []
    return keys["wg0"]["hub"]


def test_a_second_run_of_a_process_asks_again() -> None:
    first, second = State("first"), State("second")
    with ctx_state.use(first):
        assert [key_of_hub(), key_of_hub()] == ["first", "first"]
    with ctx_state.use(second):
        assert key_of_hub() == "second"
    assert (first.asked, second.asked) == (1, 1)
