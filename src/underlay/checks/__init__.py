"""The check engine: what a check is, which ones run, how results are reported. Knows no feature."""

from __future__ import annotations

from underlay.checks.model import Check, Finding, Phase, Result, Severity, Status

__all__ = ["Check", "Finding", "Phase", "Result", "Severity", "Status"]
