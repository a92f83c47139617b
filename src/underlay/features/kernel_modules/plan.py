"""What the files of this feature hold. Pure."""

from __future__ import annotations

from underlay.facts.kernel import normal
from underlay.features.kernel_modules.settings import KernelModules
from underlay.render import render


def load_text(settings: KernelModules) -> str:
    """Our modules-load.d file, empty when there is nothing to load."""
    wanted = settings.wanted()
    return render("kernel_modules/modules-load.conf.j2", modules=wanted) if wanted else ""


def options(settings: KernelModules) -> dict[str, str]:
    """`module.parameter` to value."""
    if settings.state == "absent":
        return {}
    return {
        f"{normal(module)}.{name}": str(value)
        for module, parameters in settings.options.items()
        for name, value in parameters.items()
    }


def options_text(settings: KernelModules) -> str:
    """Our modprobe.d file, empty when there are no parameters."""
    if settings.state == "absent" or not settings.options:
        return ""
    found = {normal(module): values for module, values in settings.options.items() if values}
    return render("kernel_modules/modprobe.conf.j2", options=found)
