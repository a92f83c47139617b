"""Tune the kernel, now and at every boot."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from underlay.features.fleet import load
from underlay.features.sysctl.settings import Sysctl
from underlay.operations import sysctl


@deploy("Kernel settings")
def tune() -> None:
    """Keep the settings of the inventory; a host without any gets back what it had."""
    settings = load(host, Sysctl)
    sysctl.settings(
        name="Keep kernel settings, now and at boot",
        wanted=settings.wanted(),
    )
