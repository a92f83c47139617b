"""For CI systems: one suite, one case per check; unknown is an error, warn passes. Pure."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, tostring

from underlay.checks.model import Status
from underlay.checks.report.model import Report

#: Characters that no XML 1.0 document may hold.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """One XML document."""
    counts = report.counts
    numbers = {
        "tests": len(report.results), "failures": counts[Status.FAIL],
        "errors": counts[Status.UNKNOWN], "skipped": counts[Status.SKIPPED],
    }  # fmt: skip
    attributes = {name: str(number) for name, number in numbers.items()}
    attributes |= {"name": f"underlay {report.command}", "time": f"{report.seconds:.3f}"}
    root = Element("testsuites", attributes)
    suite = SubElement(root, "testsuite", {**attributes, "timestamp": report.when})
    for result in report.results:
        group, _, name = result.id.partition("/")
        case = SubElement(
            suite, "testcase", {"classname": f"{report.command}.{group}", "name": name}
        )
        told = [f for f in result.findings if f.status is not Status.PASS]
        text = _clean(
            "\n".join(
                f"{finding.message}\n  do: {finding.remedy or result.remedy}" for finding in told
            )
        )
        kind = {Status.FAIL: "failure", Status.UNKNOWN: "error"}.get(result.status)
        if kind:
            message = _clean(told[0].message if told else result.title)
            SubElement(case, kind, {"message": message, "type": result.severity.value}).text = text
        elif result.status is Status.SKIPPED:
            SubElement(case, "skipped", {"message": _clean(result.reason)})
        elif told:
            SubElement(case, "system-out").text = text
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return FORBIDDEN.sub("?", text)
