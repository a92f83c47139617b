"""calicoctl is a program of this computer here: its words, its environment, its standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state

from underlay.errors import ClusterError
from underlay.operations import calicoctl

PROGRAM = """#!/bin/sh
cd "$(dirname "$0")"
printf '%s\\n' "$DATASTORE_TYPE" "$KUBECONFIG" "$@" > words
cat > input
[ "$1" != delete ] || { echo 'resource does not exist' >&2; exit 1; }
printf '{"items": []}\\n'
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """This computer, with a program of that name first on its path."""
    program = tmp_path / "calicoctl"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    inventory = Inventory((["@local"], {}))  # type: ignore[no-untyped-call]
    state, config = State(), Config()  # type: ignore[no-untyped-call]
    state.init(inventory, config)
    with ctx_state.use(state), ctx_config.use(config), ctx_inventory.use(inventory):
        state.set_stage(StateStage.Connect)
        connect_all(state)
        state.set_stage(StateStage.Execute)
        found = next(iter(inventory))
        with ctx_host.use(found):
            yield found


def test_words_environment_and_input_arrive_as_they_are(host: Any, tmp_path: Path) -> None:
    assert calicoctl.find(host) == ("calicoctl",)
    run = calicoctl.runner(host, ("calicoctl",), "/etc/kubernetes/admin $(id).conf")
    assert run(("get", "bgpPeer", "a b'\"$(id)"), "").strip() == '{"items": []}'
    assert (tmp_path / "words").read_text().splitlines() == [
        "kubernetes", "/etc/kubernetes/admin $(id).conf", "get", "bgpPeer", "a b'\"$(id)",
    ]  # fmt: skip
    run(("apply", "--filename", "-"), '{"a": "b\'$x"}')
    assert (tmp_path / "input").read_text().strip() == '{"a": "b\'$x"}'


def test_what_it_says_when_it_fails_is_the_error(host: Any) -> None:
    run = calicoctl.runner(host, ("calicoctl",), "/etc/kubernetes/admin.conf")
    with pytest.raises(ClusterError, match="calicoctl delete bgpPeer: resource does not exist"):
        run(("delete", "bgpPeer", "x"), "")


def test_a_host_without_it(host: Any, tmp_path: Path) -> None:
    (tmp_path / "calicoctl").unlink()
    assert calicoctl.find(host) == ()
