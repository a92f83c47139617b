"""Probes: what is tried, what a run of the script says, what counts as worse."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from underlay.features.kube_proxy.probes import (
    Place,
    Probe,
    outcomes,
    regressions,
    script,
    targets,
    untried,
)


def service(name: str, **spec: Any) -> dict[str, Any]:
    namespace, _, own = name.partition("/")
    return {"metadata": {"namespace": namespace, "name": own}, "spec": spec}


PORT = {"protocol": "TCP", "port": 80}
SERVICES = (
    service(
        "shop/web", clusterIP="10.96.0.9", ports=[{**PORT, "nodePort": 30080}], selector={"a": "b"}
    ),
    service("default/kubernetes", clusterIP="10.96.0.1", ports=[{"protocol": "TCP", "port": 443}]),
    service("shop/none", clusterIP="10.96.0.7", ports=[PORT], selector={"a": "c"}),
    service("shop/headless", clusterIP="None", ports=[PORT], selector={"a": "b"}),
)
HERE = Place("w1", "10.77.0.11", {})
READY = frozenset({"shop/web", "default/kubernetes", "shop/headless"})


def test_targets_put_the_api_first_and_leave_headless_out() -> None:
    found = targets(SERVICES, READY, HERE, 5)
    assert found[0] == Probe(
        "default/kubernetes TCP 443 from node", "node", "TCP", "10.96.0.1", 443
    )
    assert {probe.address for probe in found} == {
        "10.96.0.1", "10.96.0.9", "10.77.0.11", "127.0.0.1", "10.96.0.7",
    }  # fmt: skip
    assert [probe.name for probe in found if probe.expected_to_differ] == [
        "shop/web NodePort 30080 on 127.0.0.1"
    ]


def test_the_limit_is_per_kind() -> None:
    found = targets(SERVICES, READY, HERE, 1)
    assert len([probe for probe in found if "from node" in probe.name]) == 1
    assert any("NodePort" in probe.name for probe in found)


def test_external_addresses_sticky_services_and_a_pod_that_reaches_itself() -> None:
    web = service(
        "shop/web", clusterIP="10.96.0.9", ports=[PORT], externalIPs=["198.51.100.7"],
        sessionAffinity="ClientIP",
    )  # fmt: skip
    web["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}, {"hostname": "x"}]}}
    place = Place("w1", "10.77.0.11", {"shop/web": "10.244.1.7"})
    found = {probe.name: probe for probe in targets([web], frozenset({"shop/web"}), place, 5)}
    assert list(found) == [
        "shop/web TCP 80 sticky from node",
        "shop/web TCP 80 sticky from pod",
        "shop/web 80 on 198.51.100.7 from node",
        "shop/web 80 on 198.51.100.8 from node",
        "shop/web 80 from its own pod",
    ]
    assert found["shop/web 80 from its own pod"].place == "pod 10.244.1.7"
    assert "nsenter --net=$n ip -o addr | grep -qF ' 10.244.1.7/'" in script(tuple(found.values()))


@pytest.fixture
def servers() -> Iterator[tuple[int, int]]:
    """A TCP listener and a UDP echo on loopback."""
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))

    def echo() -> None:
        while True:
            try:
                data, client = udp.recvfrom(512)
            except OSError:
                return
            udp.sendto(data, client)

    threading.Thread(target=echo, daemon=True).start()
    yield tcp.getsockname()[1], udp.getsockname()[1]
    tcp.close()
    udp.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_script_tells_open_refused_answered_and_silent(servers: tuple[int, int]) -> None:
    tcp, udp = servers
    probes = [
        Probe("tcp", "node", "TCP", "127.0.0.1", tcp),
        Probe("closed", "node", "TCP", "127.0.0.1", _free_port()),
        Probe("udp", "node", "UDP", "127.0.0.1", udp),
        Probe("closed udp", "node", "UDP", "127.0.0.1", _free_port()),
    ]
    done = subprocess.run(
        ["bash", "-c", script(probes)], capture_output=True, text=True, check=True, timeout=30
    )
    assert outcomes(done.stdout.splitlines(), probes) == {
        "tcp": "open", "closed": "refused", "udp": "answered", "closed udp": "refused",
    }  # fmt: skip


def test_a_probe_that_says_nothing_timed_out_but_a_broken_run_is_an_error() -> None:
    probes = [Probe("a", "node", "TCP", "192.0.2.1", 1), Probe("b", "node", "UDP", "192.0.2.1", 1)]
    assert outcomes(["end"], probes) == {"a": "timeout", "b": "silent"}
    with pytest.raises(ValueError, match="broke off"):
        outcomes(["0 open"], probes)


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ("open", "open", False),
        ("open", "timeout", True),
        ("open", "refused", True),
        ("refused", "timeout", True),
        ("timeout", "open", False),
        ("answered", "silent", True),
        ("silent", "silent", False),
        # a pod that has gone since proves nothing, neither does one that came
        ("open", "not-tried", False),
        ("not-tried", "timeout", False),
    ],
)
def test_only_worse_is_a_regression(before: str, after: str, worse: bool) -> None:
    probe = Probe("x", "node", "TCP", "192.0.2.1", 1)
    assert bool(regressions({"x": before}, {"x": after}, [probe])) is worse
    differs = Probe("x", "node", "TCP", "192.0.2.1", 1, expected_to_differ=True)
    assert regressions({"x": before}, {"x": after}, [differs]) == []


def test_without_a_pod_to_try_from_a_probe_is_not_tried(tmp_path: Path) -> None:
    """Not `timeout`, which reads as a Service that did not answer."""
    probes = [
        Probe("a from pod", "pod", "TCP", "127.0.0.1", 1),
        Probe("b from its own pod", "pod 192.0.2.77", "TCP", "127.0.0.1", 1),
        Probe("c", "node", "TCP", "127.0.0.1", _free_port()),
    ]
    text = script(probes).replace("/run/netns/cni-", f"{tmp_path}/cni-")
    done = subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, check=True, timeout=30
    )
    found = outcomes(done.stdout.splitlines(), probes)
    assert found == {"a from pod": "not-tried", "b from its own pod": "not-tried", "c": "refused"}
    assert untried(found) == (
        "2 of 3 probes not tried, as there is no pod to try them from (a from pod, ...)"
    )
    assert untried({"c": "refused"}) == ""
