"""All six directions between the three modes, with clients that keep asking.

    cp1   w1   w2

Needs a Kubernetes that has the three modes. A lab of this computer's own distribution may be older:
then what is proved is that nftables is refused before anything changes. For all six:

    underlay lab up --name six --kubernetes DIR --suite SUITE
    UNDERLAY_TEST_LAB=six pytest -s tests/lab/test_5_all_directions.py

kube-proxy itself removes the other mode's rules as it starts when nftables is entered or left.
That there is no answer until it has written its own must be told before, must be measured by the
run, and must end; between iptables and ipvs nothing may be missed.
"""

from __future__ import annotations

import json

import pytest
from tests.lab.clients import Seen, asking
from tests.lab.machines import Machines
from tests.lab.test_2_proxy_mode import MODE, modes, no_probe_failed

from underlay.cluster.access import from_kubeconfig
from underlay.cluster.objects import SERVICE
from underlay.lab.kubernetes.version import parse
from underlay.lab.kubernetes.workloads import NODE_PORT

pytestmark = pytest.mark.lab

#: A walk that takes every ordered pair of modes once.
WALK = ("nftables", "ipvs", "iptables", "ipvs", "nftables", "iptables")

#: What must be gone in each mode.
CLEAN = {
    "iptables": "ip link show kube-ipvs0; ipset list -n | grep KUBE; ipvsadm -Sn;"
    " nft list tables | grep kube-proxy",
    "ipvs": "iptables-save | grep -E ':KUBE-(SVC|SEP)-'; nft list tables | grep kube-proxy",
    "nftables": "ip link show kube-ipvs0; ipset list -n | grep KUBE; ipvsadm -Sn;"
    " iptables-save | grep -E ':KUBE-(SVC|SEP|SERVICES|IPVS|NODE-PORT)'",
}


def run(machines: Machines, mode: str) -> tuple[int, str]:
    """Migrate to a mode; exit code and output."""
    section = {
        "mode": mode, "accept_deprecated": True, "rollout": {"batch": 2},
        "conntrack": {"max_per_core": 0},
    }  # fmt: skip
    done = machines.pyinfra("--data", f"kube_proxy={json.dumps(section)}", "deploys/proxy_mode.py")
    return done.returncode, done.stdout + done.stderr


def longest_gap(machines: Machines) -> float:
    """Of what the run's own watch saw on all nodes in its last change, seconds."""
    done = machines.underlay("journal", "inventory.py", "--change", "kube_proxy", "--json")
    assert done.returncode == 0, done.stderr
    last = [host["changes"][0]["entries"][-1] for host in json.loads(done.stdout)["hosts"]]
    assert {entry["event"] for entry in last} == {"committed"}
    return max(
        float(seen["longest_gap_ms"]) / 1000 for entry in last for seen in entry["data"]["watched"]
    )


def one_gap_that_was_told(seen: list[Seen], text: str, gap: float, *, flows: bool) -> None:
    """While kube-proxy starts new connections may fail, and it ends.

    gap: what the run says it was. An emulated kube-proxy takes half a minute to its first rules.
    flows: what a node's own programs keep open goes on; it does not when ipvs is left.
    """
    assert "before it has written its own" in text
    new = ("cluster-ip", "node-port", *(["udp-flow"] if flows else []))
    asked = [entry for entry in seen if entry.what in new]
    assert [str(entry) for entry in asked if entry.tries - entry.failed < 20] == []
    assert [str(entry) for entry in asked if entry.gap > 150] == []
    missed = max(entry.gap for entry in asked)
    # a client that waits ten seconds for an answer sees a gap that much longer
    assert gap > missed / 2 - 10, (gap, missed)


def test_every_direction(machines: Machines) -> None:
    assert modes(machines) == {"iptables"}
    if not parse(machines.lab.kubernetes).at_least(33):
        code, text = run(machines, "nftables")
        assert code == 1
        assert "has no usable nftables mode" in text
        assert modes(machines) == {"iptables"}
        return
    service = from_kubeconfig(machines.lab.kubeconfig).get(SERVICE, "echo", "default")
    echo = str(service["spec"]["clusterIP"])
    for mode in WALK:
        (was,) = modes(machines)
        print(f"== {was} to {mode}", flush=True)
        with asking(machines, echo, NODE_PORT) as seen:
            code, text = run(machines, mode)
        assert code == 0, text
        assert set(machines.everywhere(MODE).values()) == {mode}
        left = machines.everywhere(f"({CLEAN[mode]}) 2>/dev/null || :")
        assert set(left.values()) == {""}, left
        gap = longest_gap(machines)
        print(f"   the run's own watch: longest gap {gap} s", flush=True)
        if "nftables" in {was, mode}:
            one_gap_that_was_told(seen, text, gap, flows=was != "ipvs")
            if was != "ipvs":
                long = [entry for entry in seen if entry.what.startswith("long")]
                assert [str(entry) for entry in long if entry.failed] == []
        else:
            no_probe_failed(seen, flows=was != "ipvs")
        code, text = run(machines, mode)
        assert code == 0, text
