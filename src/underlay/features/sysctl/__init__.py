"""Kernel and connection tracking settings, live and at boot."""

from __future__ import annotations

from underlay.features.model import Feature
from underlay.features.sysctl.rules import RULES
from underlay.features.sysctl.settings import Sysctl

FEATURE = Feature(
    name="sysctl",
    title="Kernel settings",
    sections=(Sysctl,),
    deploys=("sysctl",),
    rules=RULES,
)
