"""WireGuard overlays: hubs, spokes, and what goes through them."""

from __future__ import annotations

from underlay.features.model import Feature
from underlay.features.wireguard.rules import RULES
from underlay.features.wireguard.settings import WireGuard

FEATURE = Feature(
    name="wireguard",
    title="WireGuard overlays",
    sections=(WireGuard,),
    deploys=("wireguard",),
    rules=RULES,
)
