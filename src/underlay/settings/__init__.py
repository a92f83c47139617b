"""How inventory data becomes typed values; knows no feature."""

from __future__ import annotations

from underlay.settings.fleet import Fleet, HostSettings, RawHost
from underlay.settings.problem import Problem, refuse, shown
from underlay.settings.section import Part, Section

__all__ = ["Fleet", "HostSettings", "Part", "Problem", "RawHost", "Section", "refuse", "shown"]
