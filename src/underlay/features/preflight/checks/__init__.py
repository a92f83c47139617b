"""Every check of the pre-flight, in the order they are told; adding one is one entry."""

from __future__ import annotations

from underlay.checks.model import Check
from underlay.features.preflight.checks import (
    addresses,
    clock,
    cluster,
    daemons,
    dns,
    kernel,
    mtu,
    nodes,
    reach,
    tables,
)
from underlay.features.preflight.scene import Scene

CHECKS: tuple[Check[Scene], ...] = (
    *nodes.CHECKS,
    *reach.CHECKS,
    *mtu.CHECKS,
    *addresses.CHECKS,
    *dns.CHECKS,
    *kernel.CHECKS,
    *tables.CHECKS,
    *clock.CHECKS,
    *daemons.CHECKS,
    *cluster.CHECKS,
)
