"""Calico's BGP mesh replaced by route reflectors, and back, without losing a route."""

from __future__ import annotations

from underlay.features.model import Feature
from underlay.features.route_reflectors.rules import RULES
from underlay.features.route_reflectors.settings import RouteReflectors

FEATURE = Feature(
    name="route_reflectors",
    title="BGP route reflectors",
    sections=(RouteReflectors,),
    deploys=("route_reflectors",),
    rules=RULES,
)
