"""The one explicit list of features; adding a feature is one line here."""

from __future__ import annotations

from underlay.features import (
    calico,
    flannel,
    ipsec,
    kernel_modules,
    kube_proxy,
    overlay_neighbours,
    preflight,
    route_reflectors,
    sysctl,
    wireguard,
)
from underlay.features.model import Feature, Rule
from underlay.settings import Section
from underlay.settings.cluster import Cluster
from underlay.settings.network import Network

FEATURES: tuple[Feature, ...] = (
    kernel_modules.FEATURE,
    sysctl.FEATURE,
    kube_proxy.FEATURE,
    preflight.FEATURE,
    wireguard.FEATURE,
    route_reflectors.FEATURE,
    flannel.FEATURE,
    calico.FEATURE,
    ipsec.FEATURE,
)

#: Sections that no single feature owns.
SHARED: tuple[type[Section], ...] = (Cluster, Network)


def all_sections() -> tuple[type[Section], ...]:
    """Every section of every feature, in the order of FEATURES."""
    return (*SHARED, *(section for feature in FEATURES for section in feature.sections))


def all_rules() -> tuple[Rule, ...]:
    """Every rule of every feature, then those between features."""
    own = [rule for feature in FEATURES for rule in feature.rules]
    return (*own, *overlay_neighbours.RULES)
