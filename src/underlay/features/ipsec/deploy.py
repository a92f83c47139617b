"""Bring the IPsec links of the inventory up, and take down what it no longer names."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakKeyDictionary

from pyinfra.api.deploy import deploy
from pyinfra.api.inventory import Inventory
from pyinfra.context import host

from underlay.features.fleet import load, load_all
from underlay.features.ipsec import plan, secrets
from underlay.features.ipsec.settings import IPsec
from underlay.operations import ipsec
from underlay.operations.ipsec_secrets import SecretFile
from underlay.settings import refuse

_read: WeakKeyDictionary[Inventory, dict[str, tuple[SecretFile, ...]]] = WeakKeyDictionary()


@deploy("IPsec links")
def connect() -> None:
    """Every host of a link is changed before one of its gateways proves it."""
    settings = load(host, IPsec)
    wanted = plan.tunnels(settings, host.name)
    ipsec.daemon(name="Check that IPsec can run, start the daemon on gateways", wanted=wanted)
    ipsec.links(
        name="Bring IPsec links to the plan",
        wanted=wanted,
        secrets=_secrets().get(host.name, ()),
        guard_seconds=settings.guard_s,
    )
    ipsec.proved(name="Establish links that changed", wanted=wanted, seconds=settings.prove_s)
    ipsec.settled(name="Keep proved links, take others back", wanted=wanted)


def _secrets() -> dict[str, tuple[SecretFile, ...]]:
    """The secrets of all hosts, read once in a run; what is wrong with any of them ends it."""
    inventory = host.state.inventory
    if inventory not in _read:
        folder = Path(host.state.cwd or ".")
        files, problems = secrets.of_fleet(load_all(host, IPsec), folder)
        refuse(problems)
        _read[inventory] = files
    return _read[inventory]
