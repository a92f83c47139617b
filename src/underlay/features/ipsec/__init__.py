"""IPsec links between sites, and to peers that are managed elsewhere."""

from __future__ import annotations

from underlay.features.ipsec.rules import RULES
from underlay.features.ipsec.settings import IPsec
from underlay.features.model import Feature

FEATURE = Feature(
    name="ipsec",
    title="IPsec links",
    sections=(IPsec,),
    deploys=("ipsec",),
    rules=RULES,
)
