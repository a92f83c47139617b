"""Decisions of a mode migration. Pure.

The journal of a node knows these events: `snapshot` (what was there, written before anything is
changed), `switched`, `committed`, `rolled-back`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from underlay import journal
from underlay.facts.kube_proxy import NodeProxy, VirtualServer
from underlay.features.kube_proxy.config_text import read, value_of, with_values

CHANGE = "kube_proxy"


class Work(str, Enum):
    """What is left to do on one node."""

    NOTHING = "nothing"
    PROVE = "prove"
    SWITCH = "switch"


@dataclass(frozen=True)
class Snapshot:
    """What a node ran before a migration: effective mode, text of config.conf, probe outcomes."""

    mode: str
    config: str
    baseline: dict[str, str]


def digest(config: str) -> str:
    """Short name of a configuration, for the journal."""
    return hashlib.sha256(config.encode()).hexdigest()[:16]


def remaining(node: NodeProxy, mode: str, config: str) -> Work:
    """What is left until a node runs `mode` with the configuration `config`, proved."""
    last = node.entries[-1] if node.entries else None
    if node.mode != mode:
        return Work.SWITCH
    if last is None or last.event == "rolled-back":
        return Work.NOTHING
    if last.event == "committed":
        same = last.data.get("config") == digest(config)
        return Work.NOTHING if same else Work.SWITCH
    # cut short: switched in an earlier run, or its kube-proxy restarted by itself
    return Work.PROVE if last.event == "switched" else Work.SWITCH


def base(config: str, previous: str, node_mode: str, mode: str) -> str:
    """The configuration that a node of this mode is to go back to.

    config: what the ConfigMap holds now; previous: what it held before the last migration. When it
    leads to `mode` already, a run was cut short or other nodes were migrated before this one.
    """
    if node_mode == mode or effective_mode(config) != mode:
        return config
    if previous and effective_mode(previous) == node_mode:
        return previous
    # written by somebody else, whose nodes were not restarted
    return with_values(config, {("mode",): node_mode})


def open_snapshot(entries: Sequence[journal.Entry]) -> Snapshot | None:
    """The snapshot of a migration that was begun and neither committed nor rolled back."""
    for entry in reversed(entries):
        if entry.event in {"committed", "rolled-back"}:
            return None
        if entry.event == "snapshot":
            return _snapshot(entry)
    return None


def snapshot_before(entries: Sequence[journal.Entry], mode: str) -> Snapshot | None:
    """The latest snapshot of another mode than `mode`: where a rollback from `mode` leads."""
    for entry in reversed(entries):
        found = _snapshot(entry) if entry.event == "snapshot" else None
        if found is not None and found.mode != mode:
            return found
    return None


def ours(
    node: NodeProxy, node_ports: frozenset[int]
) -> tuple[list[VirtualServer], list[VirtualServer]]:
    """Virtual servers of kube-proxy, and those of somebody else.

    kube-proxy's have an address on kube-ipvs0, or a NodePort on an address of the node.
    """
    mine: list[VirtualServer] = []
    foreign: list[VirtualServer] = []
    for server in node.servers:
        by_service = server.address in node.addresses
        by_port = server.port in node_ports and server.address in node.local
        (mine if by_service or by_port else foreign).append(server)
    return mine, foreign


def committed_before(entries: Sequence[journal.Entry]) -> Snapshot | None:
    """Where a rollback of the last migration leads: its snapshot, None when there is none to undo.

    A migration that was cut short counts; one that was rolled back does not.
    """
    for number in range(len(entries) - 1, -1, -1):
        if entries[number].event == "rolled-back":
            return None
        if entries[number].event == "snapshot":
            return _snapshot(entries[number])
    return None


def last_digest(entries: Sequence[journal.Entry]) -> str:
    """The digest of the configuration that the last migration committed, "" without one."""
    found = journal.last(entries, "committed")
    return str(found.data.get("config", "")) if found else ""


def to_restore(current: str, old: str, managed: Sequence[tuple[str, ...]], written: str) -> str:
    """The configuration of a rollback.

    current: what the ConfigMap holds; written: digest of what the migration wrote. When somebody
    has changed it since, only the keys that we manage go back and everything else stays.
    """
    if digest(current) == written or current == old:
        return old
    before = read(old)
    return with_values(current, {path: value_of(before, path) for path in managed})


def effective_mode(config: str) -> str:
    """The mode a configuration means: empty is iptables on Linux."""
    found = value_of(read(config), ("mode",))
    return str(found) if found else "iptables"


def _snapshot(entry: journal.Entry) -> Snapshot:
    baseline = entry.data.get("baseline")
    return Snapshot(
        str(entry.data.get("mode", "")),
        str(entry.data.get("config", "")),
        {str(k): str(v) for k, v in baseline.items()} if isinstance(baseline, dict) else {},
    )
