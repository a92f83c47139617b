"""Calico: install by operator or plain manifest, sizes, guarded change."""

from __future__ import annotations

from underlay.features.calico.rules import RULES
from underlay.features.calico.settings import Calico
from underlay.features.model import Feature

FEATURE = Feature(
    name="calico",
    title="Calico",
    sections=(Calico,),
    deploys=("calico",),
    rules=RULES,
)
