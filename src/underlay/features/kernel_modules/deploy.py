"""Load kernel modules, now and at every boot."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from underlay.features.fleet import load
from underlay.features.kernel_modules import plan
from underlay.features.kernel_modules.settings import KernelModules
from underlay.operations import kernel_modules


@deploy("Kernel modules")
def load_modules() -> None:
    """Keep the modules of the inventory loaded; a host without any keeps none of ours."""
    settings = load(host, KernelModules)
    kernel_modules.modules(
        name="Keep kernel modules loaded, now and at boot",
        load_text=plan.load_text(settings),
        options_text=plan.options_text(settings),
        wanted=settings.wanted(),
        options=plan.options(settings),
    )
