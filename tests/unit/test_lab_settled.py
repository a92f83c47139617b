"""When a cluster is settled: old news of a node that has rebooted do not count."""

from __future__ import annotations

from typing import Any

from underlay.lab.kubernetes.api import unsettled
from underlay.lab.ssh import Boot

BOOT = Boot("new", 1_700_000_000.0)


def node(boot: str, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": "w1"},
        "status": {
            "nodeInfo": {"bootID": boot},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def pod(name: str, started: str, **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"nodeName": "w1"},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"state": {"running": {"startedAt": started}}}],
        },
    }


AFTER, BEFORE = "2023-11-14T22:13:25Z", "2023-11-14T22:10:00Z"
PODS = [pod("a", AFTER), pod("b", AFTER)]


def test_ready_in_this_boot_with_containers_of_this_boot() -> None:
    assert unsettled([node("new")], PODS, {"w1": BOOT}) == []


def test_the_boot_before_does_not_count() -> None:
    assert unsettled([node("old")], PODS, {"w1": BOOT}) == ["node w1"]


def test_a_container_of_the_boot_before_does_not_count() -> None:
    assert unsettled([node("new")], [*PODS[:1], pod("b", BEFORE)], {"w1": BOOT}) == ["pod b on w1"]


def test_a_pod_that_leaves_and_one_that_is_missing() -> None:
    leaving = pod("b", AFTER, deletionTimestamp=AFTER)
    assert unsettled([node("new")], [leaving], {"w1": BOOT}) == [
        "pod b on w1",
        "pods on w1 not created yet",
    ]


def test_machines_that_are_off_are_not_waited_for() -> None:
    assert unsettled([node("old", "Unknown")], [pod("a", BEFORE)], {}) == []


def test_without_a_pod_network_only_what_needs_none_is_waited_for() -> None:
    proxy = pod("kube-proxy", AFTER)
    proxy["spec"]["hostNetwork"] = True
    pods = [proxy, pod("echo", BEFORE)]
    unready = node("new", "False")
    assert unsettled([unready], pods, {"w1": BOOT}, network=False) == []
    assert unsettled([unready], pods, {"w1": BOOT}) == ["node w1", "pod echo on w1"]
    assert unsettled([unready], pods[1:], {"w1": BOOT}, network=False) == [
        "pods on w1 not created yet"
    ]
