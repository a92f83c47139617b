"""flannel: install, sizes, guarded change."""

from __future__ import annotations

from underlay.features.flannel.rules import RULES
from underlay.features.flannel.settings import Flannel
from underlay.features.model import Feature

FEATURE = Feature(
    name="flannel",
    title="flannel",
    sections=(Flannel,),
    deploys=("flannel",),
    rules=RULES,
)
