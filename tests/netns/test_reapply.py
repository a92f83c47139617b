"""Kernel settings on real kernels through real SSH, by plain pyinfra.

  hub (pyinfra)
   |  bridge 198.18.0.0/16
---+-----------+-----------+---
host 10     host 11     host 12     each a network namespace with an sshd of its own
"""

from __future__ import annotations

import pytest
from tests.netns.conftest import Fleet

pytestmark = pytest.mark.netns

FORWARD, REDIRECTS = "net.ipv4.ip_forward", "net.ipv4.conf.all.accept_redirects"
BACKLOG, TIMEOUT = "net.core.somaxconn", "net.ipv4.tcp_fin_timeout"
PORTS = "net.ipv4.ip_local_reserved_ports"
FILE = "/etc/sysctl.d/90-underlay.conf"

#: accept_redirects is 1 on a host: turning ip_forward on would make it 0.
VALUES = {FORWARD: 1, REDIRECTS: 1, BACKLOG: 32768, TIMEOUT: 15, PORTS: "30000-32767"}
#: Remote commands that a re-apply may cost a host.
COMMANDS = 3


def test_apply_reapply_take_out_and_take_back(fleet: Fleet) -> None:
    before = fleet.live(*VALUES)
    assert before[FORWARD] == {"0"}, "a new namespace does not forward"

    fleet.declare({"values": VALUES})
    assert fleet.changes() == 3
    assert fleet.live(*VALUES) == {key: {str(value)} for key, value in VALUES.items()}

    sessions = {address: fleet.hosts.sessions(address) for address in fleet.hosts.addresses}
    assert fleet.changes() == 0
    for address, earlier in sessions.items():
        assert 0 < fleet.hosts.sessions(address) - earlier <= COMMANDS

    fleet.remote(fleet.hosts.addresses[1], f"echo 128 > /proc/sys/{BACKLOG.replace('.', '/')}")
    assert fleet.changes() == 1, "only the host that drifted"
    assert fleet.live(BACKLOG)[BACKLOG] == {"32768"}

    fleet.declare({"values": {key: value for key, value in VALUES.items() if key != TIMEOUT}})
    assert fleet.changes() == 3
    assert fleet.live(FORWARD, TIMEOUT) == {FORWARD: {"1"}, TIMEOUT: before[TIMEOUT]}
    assert TIMEOUT not in fleet.remote(fleet.hosts.addresses[0], f"cat {FILE}")

    fleet.declare({"state": "absent"})
    assert fleet.changes() == 3
    assert fleet.live(*VALUES) == before
    assert fleet.remote(fleet.hosts.addresses[2], f"ls -A {FILE.rpartition('/')[0]}") == ""
    assert fleet.changes() == 0


def test_a_profile_keeps_what_a_host_has_more_of(fleet: Fleet) -> None:
    """Ports that one host reserves and uses already, and what is raised there later."""
    span = "net.ipv4.ip_local_port_range"
    before = fleet.live(BACKLOG, PORTS, span)
    first, other = fleet.hosts.addresses[:2]

    def write(key: str, value: str) -> None:
        fleet.remote(first, f"echo '{value}' > /proc/sys/{key.replace('.', '/')}")

    def read(address: str) -> list[str]:
        paths = " ".join(f"/proc/sys/{key.replace('.', '/')}" for key in (BACKLOG, PORTS, span))
        return [
            " ".join(line.split()) for line in fleet.remote(address, f"cat {paths}").splitlines()
        ]

    write(PORTS, "8080")
    write(span, "1024 65535")
    # the neighbour table is that of the computer, not of a namespace
    taken_out = {f"net.ipv4.neigh.default.gc_thresh{number}": None for number in (1, 2, 3)}
    fleet.declare({"profiles": ["large-cluster"], "values": taken_out})
    assert fleet.changes() == 3
    assert read(first) == ["65535", "8080,30000-32767", "1024 65535"]
    assert read(other) == ["65535", "30000-32767", "10240 65000"]
    assert fleet.changes() == 0

    write(BACKLOG, "131072")
    assert fleet.changes() == 1, "its file takes the higher value over"
    assert read(first)[0] == "131072"
    assert fleet.changes() == 0

    fleet.declare({"state": "absent"})
    assert fleet.changes() == 3
    assert read(first) == ["131072", "8080", "1024 65535"]
    for key, value in zip((BACKLOG, PORTS, span), read(other), strict=True):
        write(key, value)
    assert fleet.live(BACKLOG, PORTS, span) == before


def test_a_refused_value_changes_nothing_and_fails(fleet: Fleet) -> None:
    before = fleet.live(FORWARD, TIMEOUT)
    fleet.declare({"values": {FORWARD: 1, TIMEOUT: 15, "net.ipv4.tcp_congestion_control": "none"}})
    done = fleet.apply()
    assert done.returncode == 1
    assert "the kernel refused 'none'" in done.stdout + done.stderr
    assert fleet.live(*before) == before
