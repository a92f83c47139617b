"""What must hold between the sysctl section and others. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.features.kernel_modules.settings import KernelModules
from underlay.features.sysctl.settings import Sysctl
from underlay.operations.sysctl import MODULES
from underlay.settings import Fleet, Problem


def modules_before_keys(fleet: Fleet) -> Iterator[Problem]:
    """A key that a module brings is lost at boot unless modules-load.d brings the module first."""
    for host in fleet:
        wanted = host.section(Sysctl).wanted()
        loaded = set(host.section(KernelModules).wanted())
        for prefix, module in MODULES.items():
            keys = [key for key in wanted if key.startswith(prefix)]
            if keys and module not in loaded:
                yield Problem(
                    host.name,
                    "kernel_modules",
                    f"{keys[0]} exists only with the module {module}, which is not loaded at boot",
                    None,
                    f"add {module!r} to kernel_modules.modules",
                )


RULES = (modules_before_keys,)
