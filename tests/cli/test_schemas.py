"""What machines read is what the documented schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.cli.conftest import ROOT, Project

from underlay.cli.journal import changes
from underlay.facts.sysctl import KernelSettings, Line
from underlay.features.sysctl.report import rows
from underlay.journal import Entry
from underlay.operations.sysctl import Wanted


def schema(name: str) -> Draft202012Validator:
    """One schema of docs/schemas, itself checked."""
    found: dict[str, Any] = json.loads(Path(ROOT / f"docs/schemas/{name}.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def test_settings(project: Project) -> None:
    done = project.underlay("settings", "inventory.py", "--json")
    schema("settings").validate(json.loads(done.stdout))


@pytest.mark.parametrize("live", ["4096", "128", None])
def test_sysctl_report(live: str | None) -> None:
    key = "net.core.somaxconn"
    found = KernelSettings(
        values={} if live is None else {key: live}, read_only=frozenset(),
        lines=(Line("/etc/sysctl.d/99-z.conf", key, "128"),), text=None, entries=(), cores=2,
        memory=2**30, kube_proxy=None,
    )  # fmt: skip
    report = [{"name": "w1", "settings": rows(found, {key: Wanted("4096")})}]
    schema("sysctl-report").validate({"version": 1, "hosts": report})


def test_journal() -> None:
    seen = {"target": "UDP/10.96.0.10/53", "tries": 90, "failed": 1, "longest_gap_ms": 2100}
    committed = Entry(
        "2026-01-01T00:00:00Z",
        "1",
        "committed",
        {"mode": "ipvs", "config": "ab", "probes": {"x": "open"}, "watched": [seen]},
    )
    found = {"kube_proxy": (Entry("2026-01-01T00:00:00Z", "1", "switched"),), "b": (committed,)}
    report = [{"name": "w1", "changes": changes(found, None, everything=True)}]
    schema("journal").validate({"version": 1, "hosts": report})
    assert [c["open"] for c in changes(found, None, everything=True)] == [False, True]
    assert changes(found, "nothing", everything=True) == []
