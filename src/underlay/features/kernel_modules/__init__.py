"""Kernel modules that Kubernetes networking needs, loaded now and at boot."""

from __future__ import annotations

from underlay.features.kernel_modules.settings import KernelModules
from underlay.features.model import Feature

FEATURE = Feature(
    name="kernel_modules",
    title="Kernel modules",
    sections=(KernelModules,),
    deploys=("kernel_modules",),
)
