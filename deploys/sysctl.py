"""Apply the kernel settings of the inventory, now and at boot."""

from underlay.features.sysctl.deploy import tune

tune()
