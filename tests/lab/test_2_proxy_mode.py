"""The main job on a real cluster: every direction, killed, failed, cut off, and rolled back.

    cp1   w1   w2     kube-proxy, an echo pod and a client that keeps asking on each

Proof is taken on the nodes: /proxyMode, the IPVS table, what the clients missed.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
from tests.lab.clients import Seen, asking
from tests.lab.machines import ROOT, Machines

from underlay.cluster import Api
from underlay.cluster.access import from_kubeconfig
from underlay.cluster.objects import CONFIG_MAP, LEASE, SERVICE
from underlay.lab.kubernetes.workloads import NODE_PORT

pytestmark = pytest.mark.lab

MODE = "curl -s -m 5 http://127.0.0.1:10249/proxyMode"
LEFT = (
    "echo $(ip -o link show kube-ipvs0 2>/dev/null | wc -l)"
    " $(grep -cE '^(TCP|UDP)' /proc/net/ip_vs) $(ipset list -n | grep -c ^KUBE-)"
    " $(iptables-save | grep -c -- '--match-set KUBE-')"
)
#: Everything kube-proxy may make, but for counters, comments and the order of equals.
STATE = (
    "ip -d link show kube-ipvs0 2>/dev/null; ipvsadm -Sn; ipset list -n | sort;"
    " for f in iptables ip6tables; do $f-save | grep -v '^#' | sed 's/\\[[0-9:]*\\]//' | sort;"
    " done;"
    " nft list tables | sort"
)
FOREIGN = "203.0.113.77:4242"


def settings(**changes: object) -> tuple[str, str]:
    """`--data` for the section: the canary alone, then all others at once to save time.

    kube-proxy in ipvs mode deletes every virtual server that is not its own, save these networks.
    """
    section = {
        "conntrack": {"max_per_core": 0}, "accept_deprecated": True, "rollout": {"batch": 2},
        "ipvs": {"exclude_cidrs": ["203.0.113.77/32"]}, **changes,
    }  # fmt: skip
    return ("--data", f"kube_proxy={json.dumps(section)}")


@pytest.fixture(scope="module")
def api(machines: Machines) -> Api:
    """The API server of the lab."""
    return from_kubeconfig(machines.lab.kubeconfig)


@pytest.fixture(scope="module")
def echo(api: Api) -> str:
    """The ClusterIP of the echo Service."""
    return str(api.get(SERVICE, "echo", "default")["spec"]["clusterIP"])


@pytest.fixture(scope="module")
def states(machines: Machines) -> dict[str, str]:
    """What each node holds before the first migration."""
    return machines.everywhere(STATE)


def modes(machines: Machines) -> set[str]:
    """The modes of all nodes."""
    return set(machines.everywhere(MODE).values())


def config(api: Api) -> str:
    """The configuration in the ConfigMap."""
    return str(api.get(CONFIG_MAP, "kube-proxy", "kube-system")["data"]["config.conf"])


def no_probe_failed(seen: list[Seen], *, flows: bool = True) -> None:
    """No new connection fails; of the UDP flow at most the one datagram that was on its way.

    flows: whether what was open before must go on. Leaving ipvs cuts it on nodes themselves: the
    Service's address was local there, so it is the source of those sockets, and it goes; of short
    ones, that is at most the one which each client has open just then.
    """
    asked = [entry for entry in seen if not entry.what.startswith("long")]
    assert all(entry.tries > 20 for entry in asked), asked
    new = [entry for entry in asked if entry.what != "udp-flow"]
    assert [str(entry) for entry in new if entry.failed] == []
    assert [str(entry) for entry in new if entry.cut > (0 if flows else 1)] == []
    if flows:
        udp = [entry for entry in asked if entry.what == "udp-flow"]
        assert [str(entry) for entry in udp if entry.failed > 1] == []


@pytest.fixture
def drop(machines: Machines) -> Iterator[None]:
    """On w1 the Services of pods stop working in ipvs mode, where their traffic passes INPUT."""
    rule = "INPUT -d 10.96.0.0/16 -j DROP"
    machines.on("w1", f"iptables -I {rule}")
    yield
    machines.on("w1", f"iptables -D {rule}")


def test_dry_shows_the_steps_and_the_change_and_changes_nothing(
    machines: Machines, api: Api, states: dict[str, str]
) -> None:
    before = config(api)
    words = [w for w in machines.command(*settings(), "--dry", "deploys/ipvs_migrate.py")
             if w != "-y"]  # fmt: skip
    done = subprocess.run(
        words, cwd=ROOT, env=machines.environment(), capture_output=True, text=True, check=False
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    for batch in ("cp1", "w1, w2"):
        assert f"{batch}: restart kube-proxy in mode ipvs" in text
    assert re.search(r"\+mode: ipvs", text), text
    assert modes(machines) == {"iptables"}
    assert config(api) == before


def test_forward_with_clients_that_miss_nothing(machines: Machines, echo: str) -> None:
    with asking(machines, echo, NODE_PORT) as seen:
        done = machines.pyinfra(*settings(), "deploys/ipvs_migrate.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert modes(machines) == {"ipvs"}
    no_probe_failed(seen)
    assert set(
        machines.everywhere("iptables-save | grep -cE ':KUBE-(SVC|SEP)-' || :").values()
    ) == {"0"}
    sticky = f"for i in 1 2 3 4; do curl -s -m 8 http://{echo}/ | cut -d' ' -f1; done | wc -l"
    assert set(machines.everywhere(sticky).values()) == {"4"}


def test_a_second_apply_changes_nothing_and_the_journal_tells(machines: Machines) -> None:
    machines.unchanged(*settings(), "deploys/ipvs_migrate.py")
    done = machines.underlay("journal", "inventory.py", "--change", "kube_proxy", "--json")
    assert done.returncode == 0, done.stderr
    for host in json.loads(done.stdout)["hosts"]:
        last = host["changes"][0]["entries"][-1]
        assert (last["event"], last["data"]["mode"]) == ("committed", "ipvs")
        assert "default/kubernetes TCP 443 from node" in last["data"]["probes"]
        assert all(entry["tries"] for entry in last["data"]["watched"])


def test_backward_with_clients_and_nothing_left(machines: Machines, echo: str) -> None:
    machines.on("w2", f"ipvsadm -A -t {FOREIGN} -s rr")
    try:
        with asking(machines, echo, NODE_PORT) as seen:
            done = machines.pyinfra(*settings(), "deploys/proxy_rollback.py")
        foreign = machines.on("w2", "ipvsadm -Sn").split()
    finally:
        machines.on("w2", f"ipvsadm -D -t {FOREIGN}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert modes(machines) == {"iptables"}
    assert foreign == ["-A", "-t", FOREIGN, "-s", "rr"]
    assert machines.everywhere(LEFT) == {name: "0 0 0 0" for name in machines.names}
    no_probe_failed(seen, flows=False)
    machines.unchanged(*settings(), "deploys/proxy_rollback.py")


@pytest.mark.slow
def test_a_round_trip_leaves_the_state_of_before(
    machines: Machines, states: dict[str, str]
) -> None:
    done = machines.pyinfra(*settings(), "deploys/ipvs_migrate.py")
    assert done.returncode == 0, done.stdout + done.stderr
    done = machines.pyinfra(*settings(), "deploys/proxy_rollback.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machines.everywhere(STATE) == states


def test_a_node_whose_services_fail_goes_back_and_stops_the_run(
    machines: Machines, api: Api, states: dict[str, str], drop: None
) -> None:
    before = config(api)
    done = machines.pyinfra(*settings(rollout={"batch": 1}), "deploys/ipvs_migrate.py")
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    assert "was open before and is timeout now" in text, text
    assert "w2: it was not switched, because w1:" in text, text
    assert modes(machines) == {"iptables"}
    assert config(api) == before
    assert machines.everywhere(LEFT) == {name: "0 0 0 0" for name in machines.names}


@pytest.mark.slow
def test_a_run_that_is_killed_and_one_beside_it(machines: Machines, api: Api) -> None:
    run = subprocess.Popen(
        machines.command(*settings(), "deploys/ipvs_migrate.py"), cwd=ROOT,
        env=machines.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert run.stdout is not None
    for line in run.stdout:
        if "cp1: restart kube-proxy in mode ipvs" in line:
            break
    beside = machines.pyinfra(*settings(), "deploys/ipvs_migrate.py")
    assert beside.returncode == 1, beside.stdout + beside.stderr
    # by the lease, or because the kube-proxy that is being restarted is not there just then
    refused = (
        "is changing kube-proxy of this cluster right now",
        "does not tell its mode",
        "with a kube-proxy pod",
    )
    assert any(words in beside.stdout + beside.stderr for words in refused), beside.stdout
    run.kill()
    run.wait()
    assert api.find(LEASE, "underlay-kube-proxy", "kube-system") is not None
    done = machines.pyinfra(*settings(), "deploys/ipvs_migrate.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert modes(machines) == {"ipvs"}
    assert api.find(LEASE, "underlay-kube-proxy", "kube-system") is None
    done = machines.pyinfra(*settings(), "deploys/ipvs_rollback.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machines.everywhere(LEFT) == {name: "0 0 0 0" for name in machines.names}


def test_a_missing_scheduler_and_a_foreign_server_are_refused_before_anything_changes(
    machines: Machines, api: Api
) -> None:
    before = config(api)
    path = machines.on("w2", "modinfo -n ip_vs_wlc")
    machines.on("w2", f"mv {path} {path}.away; depmod; ipvsadm -A -t {FOREIGN} -s rr")
    try:
        words = settings(ipvs={"scheduler": "wlc"})
        done = machines.pyinfra(*words, "deploys/ipvs_migrate.py")
    finally:
        machines.on("w2", f"mv {path}.away {path}; depmod; ipvsadm -D -t {FOREIGN}")
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert "w2: kernel module ip_vs_wlc is neither built in nor loadable" in text
    assert f"which it would delete: TCP {FOREIGN}" in text
    assert "cp1: not changed, because w2: kernel module ip_vs_wlc" in text
    assert modes(machines) == {"iptables"}
    assert config(api) == before
