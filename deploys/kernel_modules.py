"""Load the kernel modules of the inventory, now and at boot."""

from underlay.features.kernel_modules.deploy import load_modules

load_modules()
