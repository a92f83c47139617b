"""All six directions between the three modes, with clients that keep asking.

    cp1   w1   w2

Needs a Kubernetes that has the three modes. A lab of this computer's own distribution may be older:
then what is proved is that nftables is refused before anything changes. For all six:

    underlay lab up --name six --kubernetes DIR --suite SUITE
    UNDERLAY_TEST_LAB=six pytest -s tests/lab/test_5_all_directions.py
"""

from __future__ import annotations

import json

import pytest
from tests.lab.clients import asking
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
        was = modes(machines)
        print(f"== {was} to {mode}", flush=True)
        with asking(machines, echo, NODE_PORT) as seen:
            code, text = run(machines, mode)
        assert code == 0, text
        assert set(machines.everywhere(MODE).values()) == {mode}
        left = machines.everywhere(f"({CLEAN[mode]}) 2>/dev/null || :")
        assert set(left.values()) == {""}, left
        no_probe_failed(seen, flows=was != {"ipvs"})
        code, text = run(machines, mode)
        assert code == 0, text
