"""What a run is told as: text, JSON, JUnit, HTML. Each is a function of one Report. Pure."""

from __future__ import annotations

from underlay.checks.report.model import Cell, Grid, HostRow, Report

__all__ = ["Cell", "Grid", "HostRow", "Report"]
