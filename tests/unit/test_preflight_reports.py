"""Reports of one run with every status in it, as each format tells it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from jsonschema import Draft202012Validator
from tests.unit.preflight_scene import after, facts, flows, host, mtus

from underlay.checks.model import Phase, Status
from underlay.checks.report import Report, as_json, html, junit, text
from underlay.checks.report.exit_code import exit_code
from underlay.checks.select import Waiver
from underlay.exit_codes import ExitCode
from underlay.features.preflight.rules import waivers_of_checks
from underlay.features.preflight.run import report, results
from underlay.features.preflight.scene import Probes, Scene
from underlay.features.preflight.settings import Preflight
from underlay.settings.fleet import RawHost
from underlay.settings.network import Network
from underlay.settings.read import read_fleet

ROOT = Path(__file__).resolve().parent.parent.parent
HOSTILE = "x</title><script>\x1b[31m\x00"
LAB = {"waivers": [{"id": "time/synced", "reason": "machines of a lab"}]}


def _report(scene: Scene, waivers: tuple[Waiver, ...] = ()) -> Report:
    found, notes = results(scene, Phase.PREFLIGHT, waivers, date(2027, 1, 1))
    return report(scene, found, notes, command="preflight", inventory="inventory.py", seconds=4.2)


@pytest.fixture
def mixed() -> Report:
    """A failure at one node, a warning, an unknown, a waiver, and a hostile name."""
    scene = after(
        flows(lambda f: f.target == "n1" and f.port == 8472, verdict="timeout"),
        facts("n2", swaps=("/dev/vda2",), hostname=HOSTILE),
        host("n2", unprobed=HOSTILE),
        mtus({("n0", "n2"): 1400}),
    )
    return _report(scene, (Waiver("time/*", "clocks are somebody else's"),))


def test_text_fits_a_terminal_and_is_plain_in_a_pipe(mixed: Report) -> None:
    told = text.render(mixed)
    assert max(len(line) for line in told.splitlines()) <= text.WIDTH
    assert "\x1b" not in told.replace("\x1b[31m\x00", "")
    assert "\x1b[31m✗" in text.render(mixed, colour=True)
    assert "  ✗ reach/ports\n    8472/udp (flannel vxlan) into n1 (2 of 2 peers)" in told
    assert "    do: open the port" in told
    assert "- time/synchronised: waived: clocks are somebody else's" in told
    assert "time/skew is strict: time/* does not waive it; name its id" in told


def test_a_waiver_of_the_inventory_counts_until_its_day() -> None:
    def told(until: str) -> str:
        given = {"waivers": [{"id": "time/synchronised", "reason": "of the lab", "until": until}]}
        found = Preflight.model_validate(given)
        return text.render(_report(after(host("n0", preflight=found), host("n1", preflight=found))))

    assert told("2027-01-01").count("time/synchronised: waived: of the lab, until 2027-01-01") == 1
    assert "the waiver of time/synchronised ended on 2026-12-31" in told("2026-12-31")


def test_a_waiver_of_no_check_is_refused_before_any_host_is_asked() -> None:
    raw = RawHost("n0", (), {"preflight": LAB}, {})
    fleet, problems = read_fleet([raw], [Network, Preflight])
    assert problems == []
    (problem,) = waivers_of_checks(fleet)
    assert str(problem).startswith("n0: preflight.waivers[0].id: no such check (got 'time/synced')")


def test_json_is_what_its_schema_says(mixed: Report) -> None:
    schema = json.loads((ROOT / "docs/schemas/preflight.json").read_text())
    Draft202012Validator.check_schema(schema)
    found = json.loads(as_json.render(mixed))
    Draft202012Validator(schema).validate(found)
    assert found["counts"]["fail"] == 2


def test_junit_counts_what_it_holds(mixed: Report) -> None:
    root = fromstring(junit.render(mixed))  # noqa: S314 - our own text
    (suite,) = root
    assert int(suite.attrib["tests"]) == len(suite) == len(mixed.results)
    assert len(suite.findall("testcase/failure")) == int(suite.attrib["failures"]) == 2
    assert len(suite.findall("testcase/error")) == int(suite.attrib["errors"]) == 1


def test_html_is_one_file_that_a_node_cannot_write_to(mixed: Report) -> None:
    page = html.render(mixed)
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<svg") == len(mixed.grids) == 5
    assert "n0 → n2: 1400 bytes, 1500 expected" in page


@pytest.mark.parametrize(
    ("scene", "on_warn", "code"),
    [
        (after(), True, ExitCode.PASSED),
        (after(facts("n1", swaps=("/x",))), False, ExitCode.PASSED),
        (after(facts("n1", swaps=("/x",))), True, ExitCode.WARNINGS),
        (after(host("n1", unprobed="no python3")), True, ExitCode.WARNINGS),
        (after(facts("n1", machine_id="")), False, ExitCode.CHECKS_FAILED),
        (after(host("n1", lost="away"), facts("n1", machine_id="")), False, ExitCode.UNREACHABLE),
    ],
)
def test_exit_codes(scene: Scene, on_warn: bool, code: ExitCode) -> None:
    assert exit_code(_report(scene), fail_on_warn=on_warn) is code


def test_a_check_that_breaks_off_is_unknown() -> None:
    found = _report(after(facts("n1", kubelet=None)))
    broken = [result for result in found.results if result.status is Status.UNKNOWN]
    assert broken
    assert "the check itself broke off" in broken[0].findings[0].message


def _passed(found: Report) -> dict[str, list[str]]:
    return {
        result.id: [finding.message for finding in result.findings]
        for result in found.results
        if result.status is Status.PASS
    }


def test_a_check_that_did_not_see_a_lost_host_says_so() -> None:
    found = _report(after(host("n1", lost="not reachable over SSH: timed out", facts=None)))
    assert _passed(found)["node/identity"] == ["without n1"]
    assert _passed(found)["address/overlap"] == []
    told = text.render(found, width=80)
    assert "  ✗ node/answers\n    n1: not reachable over SSH: timed out" in told
    assert "node/identity (without n1)" in told
    assert told.endswith(" in 4.2 s\nlost 1 of 3 nodes: n1\n")
    many = [host(name, lost="away") for name in ("n0", "n1", "n2")]
    for width in (80, 120):
        told = text.render(_report(after(*many, facts("n2", swaps=("/x",)))), width=width)
        assert max(len(line) for line in told.splitlines()) <= min(width, text.WIDTH)
    rows = {row["name"]: row["lost"] for row in json.loads(as_json.render(found))["hosts"]}
    assert rows == {"n0": None, "n1": "not reachable over SSH: timed out", "n2": None}


def test_a_host_that_was_read_and_lost_later_is_missed_by_probes_only() -> None:
    found = _passed(_report(after(host("n1", lost="lost while probing: no answer"))))
    assert found["node/identity"] == []
    assert found["probe/agent"] == ["without n1"]


def test_nothing_passes_when_no_host_was_seen() -> None:
    away = [host(name, lost="away", facts=None, tool="", clock=None) for name in ("n0", "n1", "n2")]
    found = _report(replace(after(*away), probes=Probes()))
    assert set(_passed(found)) <= {"address/overlap", "address/capacity", "cni/backup"}
    assert exit_code(found, fail_on_warn=False) is ExitCode.UNREACHABLE
    reasons = {r.id: r.reason for r in found.results}
    assert reasons["node/swap"] == "no node was seen"


def test_without_probes_nobody_says_that_every_node_was_probed() -> None:
    unasked = [host(name, tool="") for name in ("n0", "n1", "n2")]
    found = _report(replace(after(*unasked), probes=Probes()))
    assert {r.id: r.reason for r in found.results}["probe/agent"] == "no node was probed"
