"""Two hubs: what WireGuard gives while the first is away, and how the second takes over.

    cp1 (hub)   w1 (hub)
       |   \\   /   |        one network below; w2 and w3 have sessions with both hubs
      w2 --------- w3

UNDERLAY_TEST_HUBS names a lab of four machines without Kubernetes that runs already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.lab.machines import Machines, own_lab, pings

pytestmark = [pytest.mark.lab, pytest.mark.slow]

DEPLOY = "deploys/wireguard.py"
ADDRESSES = {"cp1": "10.200.0.101", "w1": "10.200.0.102", "w2": "10.200.0.1", "w3": "10.200.0.2"}


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """Four machines of one network."""
    yield from own_lab(
        "wireguard-hubs", Machines, "UNDERLAY_TEST_HUBS", machines=4, kubernetes=False
    )


def settings(machines: Machines, *hubs: str, present: str = "present") -> tuple[str, str]:
    """`--data` for the section; hubs: the first carries what spokes say to each other."""
    below = {machine.name: machine.address for machine in machines.lab.topology.machines}
    overlay = {
        "overlay_cidr": "10.200.0.0/24", "hubs": list(hubs), "state": present,
        "nodes": {
            name: {
                "address": address,
                "endpoint": f"{below[name]}:51820",
            }
            for name, address in ADDRESSES.items()
        },
    }  # fmt: skip
    return ("--data", f"wireguard={json.dumps({'overlays': {'wg0': overlay}})}")


def passed_on(machines: Machines, hub: str) -> int:
    """How many bytes a hub has received from spokes."""
    lines = machines.on(hub, "wg show wg0 transfer").splitlines()
    return sum(int(line.split()[1]) for line in lines)


def test_the_second_hub_takes_over_when_it_is_put_first(machines: Machines) -> None:
    machines.applied(*settings(machines, "cp1", "w1"), DEPLOY)
    before = passed_on(machines, "w1")
    assert pings(machines, "w2", ADDRESSES["w3"], "-s", "1000")
    assert passed_on(machines, "w1") - before < 1000, "the standby carries nothing of it"

    machines.underlay("lab", "machine", "cut", "cp1", "--name", machines.lab.name)
    try:
        assert pings(machines, "w2", ADDRESSES["w1"]), "the session with the standby stands"
        assert not pings(machines, "w2", ADDRESSES["w3"]), "as the plan tells"
        others = [word for name in ("w1", "w2", "w3") for word in ("--limit", name)]
        left = (*others, *settings(machines, "w1", "cp1"))
        machines.applied(*left, DEPLOY)
        assert pings(machines, "w2", ADDRESSES["w3"])
        assert pings(machines, "w3", ADDRESSES["w2"])
        machines.unchanged(*left, DEPLOY)
    finally:
        machines.underlay("lab", "machine", "join", "cp1", "--name", machines.lab.name)

    machines.applied(*settings(machines, "w1", "cp1"), DEPLOY)
    for source in ADDRESSES:
        for target in ADDRESSES.values():
            assert pings(machines, source, target), (source, target)
    machines.unchanged(*settings(machines, "w1", "cp1"), DEPLOY)


def test_removal_leaves_no_hub(machines: Machines) -> None:
    machines.applied(*settings(machines, "w1", "cp1", present="absent"), DEPLOY)
    gone = machines.everywhere("ip -o link show wg0 2>/dev/null; ls /etc/underlay 2>/dev/null; :")
    assert set(gone.values()) == {""}
