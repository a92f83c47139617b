"""Pairs, selection, the address algebra, backups: what is pure and no check."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.addressing.overlap import Named, clashes, network, overlap
from underlay.checks.model import Phase
from underlay.checks.select import Waiver, chosen, known_scope, read_waivers, waived
from underlay.errors import UsageError
from underlay.facts import node
from underlay.features.preflight import addresses, agent, snapshot
from underlay.features.preflight.backup import read_backup, read_parts, write_backup
from underlay.features.preflight.changes import SCOPES
from underlay.features.preflight.checks import CHECKS
from underlay.features.preflight.plan import Target, plan
from underlay.features.preflight.ports import Use
from underlay.features.preflight.scene import Host
from underlay.settings.network import Network

ROOT = Path(__file__).resolve().parent.parent.parent


def _targets(count: int) -> dict[str, Target]:
    return {f"n{i}": Target(f"n{i}", f"10.0.{i // 250}.{i % 250 + 1}", 1500) for i in range(count)}


# what the machine does besides is no part of the property
@settings(deadline=None)
@given(count=st.integers(2, 150), seed=st.integers(0, 99))
def test_a_sample_is_linear_repeatable_and_holds_what_must_be_asked(count: int, seed: int) -> None:
    targets = _targets(count)
    groups = {"control_plane": ["n0", "n1"]}
    made = plan(targets, [], groups, mesh_up_to=64, sample=3, seed=seed)
    if count <= 64:
        assert len(made.pairs) == count * (count - 1)
        assert made.seed is None
        return
    assert len(made.pairs) <= count * 7
    assert made.seed == seed
    assert {("n0", "n1"), ("n1", "n0")} <= set(made.pairs)
    assert all((f"n{i}", "n0") in made.pairs for i in range(1, count))
    assert made == plan(targets, [], groups, mesh_up_to=64, sample=3, seed=seed)


def test_an_agent_is_told_only_its_own_part() -> None:
    used = [Use("udp", 8472, "all", "all", "vxlan", True), Use("tcp", 6443, "all", "cp", "api")]
    made = plan(_targets(3), used, {"cp": ["n0"]}, mesh_up_to=64, sample=3, seed=1)
    assert made.listens("n0") == [("udp", 8472), ("tcp", 6443)]
    assert made.listens("n1") == [("udp", 8472)]
    assert [(u.port, peer) for u, peer in made.flows("n1")] == [
        (8472, "n0"), (8472, "n2"), (6443, "n0")
    ]  # fmt: skip


def test_the_agent_compiles_for_old_pythons() -> None:
    """No syntax newer than 3.6: the compiler's own feature check."""
    tree = ast.parse(agent.source(), feature_version=(3, 6))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"typing"}
    folder = ROOT / "src/underlay/features/preflight/files/agent"
    assert {path.stem for path in folder.glob("*.py")} == set(agent.PIECES)


def test_noise_around_an_answer_is_not_read() -> None:
    answer = {"folder": "/run/x", "pid": 7, "clock": 1.5, "synchronised": None, "tool": "python3",
              "uid": 0, "listeners": [["tcp", 22, "served"]]}  # fmt: skip
    found = agent.started(["{not json", '{"other": 1}', json.dumps(answer), "bye"])
    assert (found.pid, found.root, found.states) == (7, True, {("tcp", 22): "served"})
    with pytest.raises(ValueError, match="no folder in its output"):
        agent.started(["motd"])


def test_a_real_node_is_read_and_a_broken_answer_is_refused() -> None:
    text = node.command(["vxlan"], ["net.ipv4.ip_forward"])
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    found, _ = node.read(lines)
    assert found.hostname
    assert set(found.sysctls) == {"net.ipv4.ip_forward"}
    assert sys.platform == "linux"
    with pytest.raises(ValueError, match="broke off"):
        node.read(lines[: len(lines) // 2])


def test_overlap_is_per_family_and_named() -> None:
    assert overlap(network("10.0.0.0/8"), network("10.2.0.0/16"))
    assert not overlap(network("10.0.0.0/8"), network("fd00::/8"))
    (clash,) = clashes([Named("a", network("10.0.0.0/8")), Named("b", network("10.0.0.0/8"))])
    assert str(clash) == "a 10.0.0.0/8 is the same as b 10.0.0.0/8"


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_overlap_is_symmetric_and_means_a_shared_address(a: int, p: int, b: int, q: int) -> None:
    one, other = (
        network(f"{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.{a & 255}/{p}"),
        network(f"{b >> 24}.{b >> 16 & 255}.{b >> 8 & 255}.{b & 255}/{q}"),
    )
    shared = max(int(one[0]), int(other[0])) <= min(int(one[-1]), int(other[-1]))
    assert overlap(one, other) == overlap(other, one) == shared


def test_scopes_choose_checks_and_suggest() -> None:
    assert known_scope("iptables → ipvs", SCOPES) == "iptables->ipvs"
    with pytest.raises(UsageError, match="did you mean 'calico'"):
        known_scope("calicoo", SCOPES)
    ids = {check.id for check in chosen(CHECKS, Phase.PREFLIGHT, "sysctl")}
    assert "kernel/sysctls" in ids
    assert "kube-proxy/one-mode" not in ids
    assert "cni/backup" not in {check.id for check in chosen(CHECKS, Phase.VERIFY, None)}


def test_waivers_need_a_reason_an_end_and_a_check() -> None:
    today = date(2027, 1, 1)
    with pytest.raises(UsageError, match="did you mean 'node/swap'"):
        waived(CHECKS, [Waiver("node/swp", "x")], today)
    reasons, notes = waived(CHECKS, [Waiver("node/swap", "x", date(2026, 12, 31))], today)
    assert (reasons, len(notes)) == ({}, 1)
    reasons, notes = waived(CHECKS, [Waiver("node/*", "all")], today)
    assert "node/swap" in reasons
    assert "node/identity" not in reasons
    assert any("node/identity is strict" in note for note in notes)
    assert waived(CHECKS, [Waiver("node/identity", "twins")], today)[0]
    entry = {"id": "a/b", "reason": " ", "until": "soon", "who": "me"}
    with pytest.raises(UsageError, match="3 problems"):
        read_waivers({"waivers": [entry]}, "waivers.yml")
    with pytest.raises(UsageError, match="no list of waivers"):
        read_waivers([], "waivers.yml")


def test_a_backup_comes_back_and_damage_is_seen(tmp_path: Path) -> None:
    folder = str(tmp_path / "backup")
    assert read_backup(folder).taken is None
    now = datetime(2027, 1, 1, tzinfo=timezone.utc)
    parts = {"files/etc/cni/net.d/10-x.conflist": b"{}", "dumps/cni-bin": b"abc  bridge\n"}
    assert write_backup(folder, now, {"n0": parts}) == 2
    found = read_backup(folder)
    assert (found.taken, found.hosts, found.problems) == (now, ("n0",), ())
    assert read_parts(folder, "n0") == parts
    (tmp_path / "backup/hosts/n0/files/etc/cni/net.d/10-x.conflist").write_text("{")
    (tmp_path / "backup/hosts/n0/dumps/cni-bin").unlink()
    assert len(read_backup(folder).problems) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("")
    with pytest.raises(UsageError, match="is no backup"):
        write_backup(str(tmp_path / "mine"), now, {})


def test_what_a_restore_would_do() -> None:
    before = {
        "files/a": b"1\n",
        "files/b": b"2\n",
        "dumps/cni-bin": b"x",
        "dumps/nft-ruleset": b"1",
    }
    now = {"files/b": b"3\n", "files/c": b"", "dumps/cni-bin": b"y", "dumps/nft-ruleset": b"2"}
    assert list(snapshot.differences(before, now)) == [
        "compare cni-bin: it is different now",
        "write   /a: it is gone",
        "write   /b: 2 lines differ",
        "remove  /c: it was not there",
    ]


def test_a_snapshot_of_this_computer_is_whole_and_paths_stay_inside() -> None:
    done = subprocess.run(
        ["sh", "-c", snapshot.command()], capture_output=True, text=True, check=True
    )
    snapshot.parse(done.stdout.splitlines())
    with pytest.raises(ValueError, match="out of the backup"):
        snapshot.parse([f"{snapshot.MARK}files/../../etc/x", "YQ==", snapshot.END])
    with pytest.raises(ValueError, match="broke off"):
        snapshot.parse([f"{snapshot.MARK}files/etc/x"])


def test_the_loopback_is_no_node_address() -> None:
    """SSH through a forwarded port goes to 127.0.0.1, which every node has."""
    facts = node.Node(
        "n0", addresses={"lo": ("127.0.0.1/8",), "eth0": ("192.0.2.10/24",)}, default_device="eth0"
    )
    assert addresses.address_of(Host("n0", address="127.0.0.1"), facts) == "192.0.2.10"
    assert addresses.address_of(Host("n0", address="192.0.2.10"), facts) == "192.0.2.10"
    inside = Host("n0", address="127.0.0.1", network=Network(node_cidr="192.0.2.0/24"))
    assert addresses.address_of(inside, facts) == "192.0.2.10"
