"""The pre-flight: checks of every node and of the network between them."""

from __future__ import annotations

from underlay.features.model import Feature
from underlay.features.preflight.rules import RULES
from underlay.features.preflight.settings import Preflight

FEATURE = Feature(
    name="preflight",
    title="Pre-flight",
    sections=(Preflight,),
    deploys=("preflight",),
    rules=RULES,
)
