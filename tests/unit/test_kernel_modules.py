"""Kernel modules: states from real answers of modprobe, and what a plan does with them."""

from __future__ import annotations

from dataclasses import replace

from underlay.facts.kernel import KernelModules, ModuleState, parse
from underlay.journal import Entry
from underlay.operations.kernel_modules import LOAD_FILE, OPTIONS_FILE, loaded_by_us, plan

READING = {
    "release": ["6.1.0-40-cloud-amd64", "debian"],
    "loaded": ["ip_vs", "br_netfilter"],
    "there": ["ip_vs", "tcp_cubic"],
    "would": [
        "ip_vs_rr insmod /lib/modules/6.1.0/kernel/net/netfilter/ipvs/ip_vs_rr.ko ",
        "ip_vs_sh install /bin/false ",
        "ext9 modprobe: FATAL: Module ext9 not found in directory /lib/modules/6.1.0 ",
        "quiet ",
    ],
    "blacklist": ["blacklist ip-vs-rr"],
    "parameters": ["nf_conntrack.hashsize 65536"],
    "files": [f"{LOAD_FILE}:ip_vs", f"{LOAD_FILE}:br_netfilter"],
    "journal": [],
}
NO_FILES = {LOAD_FILE: "", OPTIONS_FILE: ""}


def test_states() -> None:
    found = parse(READING)
    assert found.states == {
        "ip_vs": ModuleState.LOADED,
        "tcp_cubic": ModuleState.BUILT_IN,
        "ip_vs_rr": ModuleState.LOADABLE,
        "ip_vs_sh": ModuleState.BLOCKED,
        "ext9": ModuleState.MISSING,
        "quiet": ModuleState.BUILT_IN,
    }
    assert found.blacklisted == {"ip_vs_rr"}
    assert found.files == {LOAD_FILE: "ip_vs\nbr_netfilter\n"}


def _host(**changes: object) -> KernelModules:
    return replace(parse(READING), **changes)  # type: ignore[arg-type]


def test_loadable_is_loaded_and_a_blacklist_is_told() -> None:
    steps = plan(_host(), {LOAD_FILE: "ip_vs_rr\n", OPTIONS_FILE: ""}, ["ip_vs_rr"], {})
    assert steps.load == ("ip_vs_rr",)
    assert steps.files == {LOAD_FILE: "ip_vs_rr\n"}
    assert "blacklisted" in steps.notes[0]


def test_missing_and_blocked_are_refused_with_the_package() -> None:
    steps = plan(_host(), NO_FILES, ["ext9", "ip_vs_sh"], {})
    assert "install the package linux-image-amd64" in steps.problems[0]
    assert "`install` line" in steps.problems[1]


def test_what_we_loaded_is_unloaded_and_what_was_there_is_not() -> None:
    entries = (
        Entry("1", "r", "loaded", {"loaded": ["ip_vs_rr", "ip_vs_sh"]}),
        Entry("2", "r", "unloaded", {"unloaded": ["ip_vs_sh"]}),
    )
    assert loaded_by_us(entries) == ["ip_vs_rr"]
    steps = plan(_host(entries=entries), NO_FILES, [], {})
    assert steps.unload == ("ip_vs_rr",)
    assert steps.files == {LOAD_FILE: None}


def test_parameters_live_or_told() -> None:
    options = {"nf_conntrack.hashsize": "131072", "ip_vs.conn_tab_bits": "16"}
    host = _host(parameters={"nf_conntrack.hashsize": "65536", "ip_vs.conn_tab_bits": "12"})
    steps = plan(host, NO_FILES, [], options)
    assert steps.live == {"nf_conntrack.hashsize": "131072"}
    assert "ip_vs.conn_tab_bits is 12" in steps.notes[0]
    assert "reboot" in steps.notes[0]


def test_done_is_empty() -> None:
    texts = {LOAD_FILE: "ip_vs\nbr_netfilter\n", OPTIONS_FILE: ""}
    assert plan(_host(), texts, ["ip_vs"], {}).empty


def test_a_parameter_that_was_written_gets_its_first_value_back() -> None:
    entries = (
        Entry("1", "r", "written", {"written": {"nf_conntrack.hashsize": "65536"}}),
        Entry("2", "r", "written", {"written": {"nf_conntrack.hashsize": "99"}}),
    )
    host = _host(entries=entries, parameters={"nf_conntrack.hashsize": "131072"})
    steps = plan(host, {}, [], {})
    assert (steps.live, steps.given_back) == (
        {"nf_conntrack.hashsize": "65536"}, ("nf_conntrack.hashsize",),
    )  # fmt: skip
    done = (*entries, Entry("3", "r", "given_back", {"given_back": ["nf_conntrack.hashsize"]}))
    assert plan(_host(entries=done), {}, [], {}).empty
