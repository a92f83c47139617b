"""What is left to do on a node, from its journal and what it runs."""

from __future__ import annotations

import pytest

from underlay.facts.kernel import ModuleState
from underlay.facts.kube_proxy import NodeProxy, VirtualServer, virtual_servers
from underlay.features.kube_proxy import plan
from underlay.features.kube_proxy.plan import Work
from underlay.journal import Entry

OLD, NEW = "mode: ''\n", "mode: ipvs\n"
LOADED = {name: ModuleState.LOADED for name in ("ip_vs", "ip_vs_rr", "nf_conntrack")}

SNAPSHOT = Entry(
    "t1", "r", "snapshot", {"mode": "iptables", "config": OLD, "baseline": {"a": "open"}}
)
SWITCHED = Entry("t2", "r", "switched", {"mode": "ipvs"})
COMMITTED = Entry("t3", "r", "committed", {"mode": "ipvs", "config": plan.digest(NEW)})
ROLLED_BACK = Entry("t4", "r", "rolled-back", {"mode": "iptables", "config": plan.digest(OLD)})


def node(mode: str, *entries: Entry, **changes: object) -> NodeProxy:
    fields: dict[str, object] = {
        "mode": mode, "servers": (), "device": False, "addresses": frozenset(), "sets": (),
        "modules": LOADED, "local": frozenset({"10.77.0.11"}), "entries": entries, **changes,
    }  # fmt: skip
    return NodeProxy(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "work"),
    [
        (node("iptables"), Work.SWITCH),
        (node("ipvs"), Work.NOTHING),
        (node("iptables", SNAPSHOT), Work.SWITCH),
        # killed between the restart and its journal entry
        (node("ipvs", SNAPSHOT), Work.SWITCH),
        (node("ipvs", SNAPSHOT, SWITCHED), Work.PROVE),
        (node("ipvs", SNAPSHOT, SWITCHED, COMMITTED), Work.NOTHING),
        (node("iptables", SNAPSHOT, SWITCHED, COMMITTED), Work.SWITCH),
        (node("iptables", SNAPSHOT, SWITCHED, ROLLED_BACK), Work.SWITCH),
        (node("ipvs", SNAPSHOT, SWITCHED, ROLLED_BACK), Work.NOTHING),
    ],
)
def test_remaining(found: NodeProxy, work: Work) -> None:
    assert plan.remaining(found, "ipvs", NEW) is work


def test_another_configuration_in_the_same_mode_is_work() -> None:
    found = node("ipvs", SNAPSHOT, SWITCHED, COMMITTED)
    assert plan.remaining(found, "ipvs", "mode: ipvs\nipvs:\n  scheduler: lc\n") is Work.SWITCH


def test_a_migration_cut_short_keeps_its_first_snapshot() -> None:
    found = plan.open_snapshot((SNAPSHOT, SWITCHED))
    assert found is not None
    assert (found.mode, found.config, found.baseline) == ("iptables", OLD, {"a": "open"})
    assert plan.open_snapshot((SNAPSHOT, SWITCHED, COMMITTED)) is None
    assert plan.open_snapshot(()) is None


def test_the_way_back_leads_past_snapshots_of_the_mode_itself() -> None:
    tuned = Entry("t5", "r", "snapshot", {"mode": "ipvs", "config": NEW})
    found = plan.snapshot_before((SNAPSHOT, SWITCHED, COMMITTED, tuned), "ipvs")
    assert found is not None
    assert found.config == OLD
    assert plan.snapshot_before((tuned,), "ipvs") is None


def test_kube_proxys_servers_are_told_from_others() -> None:
    cluster = VirtualServer("TCP", "10.96.0.1", 443, "rr")
    node_port = VirtualServer("TCP", "10.77.0.11", 30080, "rr")
    same_port_elsewhere = VirtualServer("TCP", "203.0.113.1", 30080, "rr")
    foreign = VirtualServer("TCP", "10.77.0.11", 6443, "wlc")
    found = node(
        "ipvs", servers=(cluster, node_port, same_port_elsewhere, foreign),
        addresses=frozenset({"10.96.0.1"}),
    )  # fmt: skip
    mine, others = plan.ours(found, frozenset({30080}))
    assert mine == [cluster, node_port]
    assert others == [same_port_elsewhere, foreign]


def test_the_ipvs_table_is_hexadecimal() -> None:
    table = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr
  -> 0A4D0001:192B      Masq    1      0          0
UDP  [fd00:0000:0000:0000:0000:0000:0000:000a]:0035 wrr
FWM  00000001 rr
""".splitlines()
    assert virtual_servers(table) == (
        VirtualServer("TCP", "10.96.0.1", 443, "rr"),
        VirtualServer("UDP", "fd00::a", 53, "wrr"),
    )


def test_a_rollback_undoes_the_last_migration_once() -> None:
    assert plan.committed_before((SNAPSHOT, SWITCHED, COMMITTED)) is not None
    assert plan.committed_before((SNAPSHOT, SWITCHED)) is not None
    assert plan.committed_before((SNAPSHOT, SWITCHED, ROLLED_BACK)) is None
    assert plan.committed_before(()) is None


def test_a_rollback_keeps_what_somebody_else_changed_since() -> None:
    managed = [("mode",), ("ipvs", "scheduler")]
    old = "mode: ''\nipvs:\n  scheduler: ''\nclusterCIDR: 10.1.0.0/16\n"
    new = "mode: ipvs\nipvs:\n  scheduler: lc\nclusterCIDR: 10.1.0.0/16\n"
    assert plan.to_restore(new, old, managed, plan.digest(new)) == old
    edited = new.replace("10.1.0.0/16", "10.2.0.0/16")
    assert plan.to_restore(edited, old, managed, plan.digest(new)) == old.replace("10.1", "10.2")
