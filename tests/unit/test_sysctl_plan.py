"""Kernel settings: what a host needs, who wins at boot, what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from underlay.facts.sysctl import KernelSettings, KubeProxyConntrack, at_boot, boot_order, parse
from underlay.features.sysctl.profiles import PROFILES
from underlay.features.sysctl.settings import Sysctl
from underlay.floor import raised, reached
from underlay.journal import Entry
from underlay.operations.sysctl import BUCKETS, MAX, NEIGHBOURS, Wanted, plan, previous_values
from underlay.operations.sysctl_script import Plan

HOST = KernelSettings(
    values={
        "net.ipv4.ip_forward": "0", "net.core.somaxconn": "4096",
        "net.ipv4.tcp_rmem": "4096 131072 6291456", MAX: "65536", BUCKETS: "65536",
    },
    read_only=frozenset(), lines=(), text=None, entries=(), cores=4, memory=8 << 30,
    kube_proxy=None,
)  # fmt: skip


def test_ip_forward_is_written_first() -> None:
    wanted = {"net.core.somaxconn": Wanted("32768"), "net.ipv4.ip_forward": Wanted("1")}
    assert [key for key, _ in plan(HOST, wanted).live] == [
        "net.ipv4.ip_forward",
        "net.core.somaxconn",
    ]


def test_a_minimum_keeps_a_higher_value_and_says_so() -> None:
    steps = plan(HOST, {"net.core.somaxconn": Wanted("1024", at_least=True)})
    assert steps.live == ()
    assert "was 4096 before and is kept" in steps.notes[0]
    assert "net.core.somaxconn = 4096" in (steps.text or "")


RMEM = "net.ipv4.tcp_rmem"
PORTS, RESERVED = "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"


@pytest.mark.parametrize(
    ("key", "live", "floor", "result"),
    [
        ("net.core.rmem_max", "33554432", "16777216", "33554432"),
        ("net.core.rmem_max", "212992", "16777216", "16777216"),
        (RMEM, "4096 131072 6291456", "4096 65536 16777216", "4096 131072 16777216"),
        (RMEM, "4096 131072 33554432", "4096 65536 16777216", "4096 131072 33554432"),
        (RMEM, "4096 131072", "4096 65536 16777216", "4096 65536 16777216"),
        (PORTS, "32768 60999", "10240 65000", "10240 65000"),
        (PORTS, "1024 65535", "10240 65000", "1024 65535"),
        (PORTS, "32768 65535", "10240 65000", "10240 65535"),
        (RESERVED, "", "30000-32767", "30000-32767"),
        (RESERVED, "8080,29999,40000-40001", "30000-32767", "8080,29999-32767,40000-40001"),
        ("net.ipv4.tcp_congestion_control", "bbr", "cubic", "cubic"),
    ],
)
def test_more_than_a_minimum_is_kept_field_by_field(
    key: str, live: str, floor: str, result: str
) -> None:
    assert raised(key, live, floor) == result
    assert reached(key, live, floor) == (live == result)
    assert raised(key, result, floor) == result


def _after(first: Plan, before: KernelSettings) -> KernelSettings:
    """The host once the plan is carried out."""
    entry = Entry("t", "r", "previous", {"previous": dict(first.previous)})
    return replace(
        before,
        values={**before.values, **dict(first.live)},
        text=first.text,
        entries=(*before.entries, entry),
    )


def test_no_profile_lowers_what_a_host_has() -> None:
    settings = Sysctl(profiles=tuple(PROFILES))
    high = {
        key: " ".join(str(int(word) + 1) for word in wanted.value.split())
        for key, wanted in settings.wanted().items()
        if wanted.at_least and wanted.value.replace(" ", "").isdigit() and key != PORTS
    }
    exact = {key: "0" for key, wanted in settings.wanted().items() if not wanted.at_least}
    ports = {PORTS: "1024 65535", RESERVED: "8080,30000-32767", MAX: "4194304", BUCKETS: "4194304"}
    steps = plan(replace(HOST, values={**exact, **high, **ports}), settings.wanted())
    assert {key for key, _ in steps.live} == set(exact)
    assert "is kept, because 4096 131072 16777216 is a minimum" in " ".join(steps.notes)
    assert {text.partition(":")[0] for text in steps.notes} == {*high, *ports}


def test_what_the_inventory_says_itself_is_exact() -> None:
    wanted = Sysctl(profiles=("kubernetes-node",), values={RMEM: "4096 65536 1048576"}).wanted()
    assert dict(plan(HOST, {RMEM: wanted[RMEM]}).live) == {RMEM: "4096 65536 1048576"}


def test_of_two_profiles_the_higher_minimum_counts() -> None:
    wanted = Sysctl(profiles=("kubernetes-node", "vxlan-throughput")).wanted()
    assert wanted["net.core.netdev_max_backlog"] == Wanted("16384", at_least=True)
    assert wanted[RMEM] == Wanted("4096 131072 16777216", at_least=True)


def test_what_was_raised_by_hand_since_stays_and_comes_back() -> None:
    wanted = {RMEM: Wanted("4096 65536 16777216", at_least=True)}
    applied = _after(plan(HOST, wanted), HOST)
    assert applied.values[RMEM] == "4096 131072 16777216"
    assert plan(applied, wanted).empty
    tuned = replace(applied, values={**applied.values, RMEM: "4096 65536 33554432"})
    steps = plan(tuned, wanted)
    assert (steps.live, steps.previous) == ((), {RMEM: "4096 65536 33554432"})
    assert f"{RMEM} = 4096 65536 33554432" in (steps.text or "")
    assert "was 4096 65536 33554432 before and is kept" in steps.notes[0]
    settled = _after(steps, tuned)
    assert plan(settled, wanted).empty
    assert plan(settled, {}).restored == (RMEM,)
    assert plan(settled, {}).live == ()


def test_a_minimum_that_is_lowered_lowers_what_it_had_raised() -> None:
    high, low = (Wanted(value, at_least=True) for value in ("65535", "8192"))
    applied = _after(plan(HOST, {"net.core.somaxconn": high}), HOST)
    assert plan(applied, {"net.core.somaxconn": low}).live == (("net.core.somaxconn", "8192"),)


def test_drift_below_a_minimum_is_written_again() -> None:
    wanted = {"net.core.somaxconn": Wanted("32768", at_least=True)}
    applied = _after(plan(HOST, wanted), HOST)
    drifted = replace(applied, values={**applied.values, "net.core.somaxconn": "128"})
    assert plan(drifted, wanted).live == (("net.core.somaxconn", "32768"),)


def test_a_kept_threshold_over_an_exact_one_is_refused() -> None:
    values = dict(zip(NEIGHBOURS, ("80000", "90000", "100000"), strict=True))
    wanted = Sysctl(profiles=("large-cluster",), values={NEIGHBOURS[2]: 8192}).wanted()
    steps = plan(
        replace(HOST, values={**HOST.values, **values}), {key: wanted[key] for key in NEIGHBOURS}
    )
    assert "would be 80000, 90000, 8192 here" in steps.problems[0]
    assert steps.live == ()


def test_applied_is_empty() -> None:
    wanted = {"net.core.somaxconn": Wanted("32768")}
    first = plan(HOST, wanted)
    entry = Entry("t", "r", "previous", {"previous": dict(first.previous)})
    after = replace(
        HOST,
        values={**HOST.values, "net.core.somaxconn": "32768"},
        text=first.text,
        entries=(entry,),
    )
    assert plan(after, wanted).empty
    gone = plan(after, {})
    assert gone.live == (("net.core.somaxconn", "4096"),)
    assert (gone.text, gone.restored) == (None, ("net.core.somaxconn",))


def test_the_first_value_is_the_one_that_comes_back() -> None:
    entries = (
        Entry("1", "r", "previous", {"previous": {"a.b": "1"}}),
        Entry("2", "r", "previous", {"previous": {"c.d": "2"}}),
        Entry("3", "r", "restored", {"restored": ["a.b"]}),
    )
    assert previous_values(entries) == {"c.d": "2"}


def test_conntrack_is_sized_and_its_buckets_follow() -> None:
    steps = plan(HOST, {MAX: Wanted("auto"), BUCKETS: Wanted("auto")})
    assert dict(steps.live) == {MAX: "131072", BUCKETS: "32768"}


def test_a_size_by_memory_stays_when_the_memory_differs_by_some_pages() -> None:
    wanted = {MAX: Wanted("auto"), BUCKETS: Wanted("auto")}
    small = replace(HOST, cores=1, memory=603_076 << 10)
    first = plan(small, wanted)
    assert dict(first.live) == {MAX: "114871", BUCKETS: "29184"}
    applied = replace(
        small,
        text=first.text,
        values={**small.values, **dict(first.live)},
        entries=(Entry("t", "r", "previous", {"previous": dict(first.previous)}),),
    )
    for pages in (-3, 3, 200):
        assert plan(replace(applied, memory=small.memory + (pages << 12)), wanted).empty
    grown = plan(replace(applied, memory=610_000_000 + (64 << 20)), wanted)
    assert dict(grown.live)[MAX] == "125950"


def test_an_unknown_key_names_the_module_that_brings_it() -> None:
    steps = plan(HOST, {"net.bridge.bridge-nf-call-iptables": Wanted("1"), "net.nope": Wanted("1")})
    assert "load the module br_netfilter first" in steps.problems[0]
    assert "check its spelling" in steps.problems[1]
    assert steps.live == ()


def test_kube_proxy_that_would_overwrite_is_named() -> None:
    host = replace(HOST, kube_proxy=KubeProxyConntrack("v1.20.2", 32768, 131072))
    notes = plan(host, {MAX: Wanted("200000")}).notes
    assert "kube-proxy v1.20.2 may lower it to 131072" in notes[0]
    notes = plan(host, {MAX: Wanted("100000")}).notes
    assert "kube-proxy v1.20.2 raises it to 131072" in notes[0]
    assert plan(host, {MAX: Wanted("131072")}).notes == ()


def test_boot_order_is_by_file_name_and_first_folder() -> None:
    lines = boot_order(
        [
            "/usr/lib/sysctl.d/50-default.conf:-net.ipv4.conf.*.rp_filter = 2",
            "/etc/sysctl.d/99-late.conf:net.core.somaxconn=128",
            "/usr/lib/sysctl.d/99-late.conf:net.core.somaxconn=1",
            "/run/sysctl.d/10-early.conf:net/core/somaxconn = 7",
        ]
    )
    assert [line.value for line in at_boot(lines, "net.core.somaxconn")] == ["7", "128"]
    assert [line.value for line in at_boot(lines, "net.ipv4.conf.eth0.rp_filter")] == ["2"]


def test_parse_of_a_real_reading() -> None:
    found = parse(
        {
            "values": ["/proc/sys/net/ipv4/tcp_rmem:4096\t131072\t6291456"],
            "read-only": ["/proc/sys/net/ipv4/tcp_rmem"],
            "boot": [], "ours": [], "journal": [], "size": ["2", "1000"], "kube-proxy": [],
        }
    )  # fmt: skip
    assert found.values == {"net.ipv4.tcp_rmem": "4096 131072 6291456"}
    assert found.read_only == {"net.ipv4.tcp_rmem"}
    assert (found.text, found.cores, found.memory) == (None, 2, 1024000)
