"""One lab for all scenarios: the one UNDERLAY_TEST_LAB names, else one made for this session.

    cp1 (control plane)   w1   w2        three virtual machines on one L2, Kubernetes on all of them

On failure each node's state is collected where the message says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.machines import Machines, own_lab

#: What a person wants to see of a node after a failure.
STATE = (
    "ip -br addr; ip route; ip rule; sysctl -a 2>/dev/null | grep -E 'conntrack_max|ip_forward';"
    " cat /proc/net/ip_vs; ipset list -n; iptables-save; nft list tables;"
    " curl -s -m 3 127.0.0.1:10249/proxyMode; echo; crictl ps -a 2>/dev/null;"
    " cat /var/lib/underlay/*/journal.jsonl; journalctl -n 80 --no-pager"
)


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    """The machines of the lab and the commands a user types against them."""
    yield from own_lab("scenarios", Machines, "UNDERLAY_TEST_LAB", memory=1024)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Collect the state of every node when a scenario fails."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    found = next(
        (f for f in getattr(item, "funcargs", {}).values() if isinstance(f, Machines)), None
    )
    if report.when == "call" and report.failed and found is not None:
        folder = Path(".underlay/failures") / item.name
        folder.mkdir(parents=True, exist_ok=True)
        for name in found.names:
            (folder / f"{name}.txt").write_text(found.on(name, STATE, check=False))
        report.sections.append(("state of the nodes", f"collected in {folder.resolve()}"))
    return report  # type: ignore[return-value]
