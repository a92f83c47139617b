"""Bring the WireGuard overlays of the inventory up, and take down what it no longer names."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from underlay.features.fleet import load
from underlay.features.wireguard import plan
from underlay.features.wireguard.settings import WireGuard
from underlay.operations import preshared, wireguard, wireguard_proof


@deploy("WireGuard overlays")
def connect() -> None:
    """Keys on every host first, then each host learns its peers' keys, then they are asked."""
    settings = load(host, WireGuard)
    wanted = tuple(
        plan.interface(name, overlay, host.name) for name, overlay in settings.of(host.name).items()
    )
    wireguard.keys(name="Check that WireGuard can run, make keys where missing", wanted=wanted)
    preshared.keys(name="Share preshared keys where they are wanted", wanted=wanted)
    brought = wireguard.interfaces(
        name="Bring WireGuard interfaces to the plan",
        wanted=wanted,
        guard_seconds=settings.guard_s,
    )
    if wanted:
        # only now has every peer what it needs to answer
        wireguard_proof.answers(
            name="Ask peers for an answer through the tunnel", wanted=wanted, _if=brought.did_change
        )
