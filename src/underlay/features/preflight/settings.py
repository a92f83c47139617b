"""The `preflight` section: what is probed, how hard, and what counts as good."""

from __future__ import annotations

import re
from datetime import date
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from underlay.settings import Part, Section, shown
from underlay.settings.network import Address

#: A name as a question can carry it: labels of 63 bytes, 253 in all (RFC 1035, 2.3.4).
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME, _LONGEST = re.compile(rf"({_LABEL}\.)*{_LABEL}\.?"), 253


class Dns(Part):
    """Names that every node must resolve; none are asked unless they are named here [RFC 1035].

    cluster: names of the cluster's own zone, asked of `server` {each a host name}.
    outside: other names, asked of the node's own resolvers {each a host name}.
    server: address of the cluster DNS Service [KubeletConfiguration, clusterDNS].
    """

    cluster: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    server: Address | None = None

    @field_validator("cluster", "outside")
    @classmethod
    def _names(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        for name in found:
            if not _NAME.fullmatch(name) or len(name) > _LONGEST:
                raise ValueError(
                    f"not a DNS name: {shown(name)}; write letters, digits, - and dots"
                )
        return found

    @model_validator(mode="after")
    def _asked_of_somebody(self) -> Dns:
        if self.cluster and self.server is None:
            raise ValueError("cluster names without a server; give the cluster DNS address")
        return self


class Port(Part):
    """One more port that nodes need of each other [underlay].

    port: number of the port.
    protocol: transport that is tried.
    sources: group of the nodes that call, `all` for every node {a group of the inventory}.
    targets: group of the nodes that answer, `all` for every node {a group of the inventory}.
    why: what the report says the port is for {a line}.
    """

    port: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"
    sources: str = "all"
    targets: str = "all"
    why: str = "declared in preflight.ports"


class Waived(Part):
    """A check that is not asked, as `--skip` leaves one out [underlay].

    id: which check, or a pattern such as `host/*`, which no strict check obeys
        {an id of docs/checks.md}.
    reason: why it is left out, as the report says it {1 to 300 characters}.
    until: last day on which the waiver counts, or no end {a date}.
    """

    id: str = Field(min_length=1, max_length=80)
    reason: str = Field(min_length=1, max_length=300, pattern=r"\S")
    until: date | None = None


class Preflight(Section):
    """How the pre-flight looks [underlay].

    dns: names that must resolve.
    node_ports: ports of the NodePort range that are tried, as a sample of it {each 1 to 65535}
        [kube-apiserver, --service-node-port-range].
    ports: more ports that nodes need of each other.
    mesh_up_to: number of nodes up to which every pair is tried.
    sample: how many peers of each node are drawn above `mesh_up_to` nodes.
    probe_seconds: longest wait for one probe, in seconds.
    skew_seconds: seconds that two clocks may differ.
    conntrack_percent: use of the connection table in percent that is worth a warning
        [kubernetes-monitoring/node-mixin, NodeHighNumberConntrackEntriesUsed].
    monitoring: whether it is worth a warning that nothing monitors the nodes.
    backup: folder of `underlay backup` on this computer {a path}.
    backup_days: age of that backup in days that is worth a warning.
    waivers: checks that are left out of every run.
    """

    KEY: ClassVar[str] = "preflight"

    dns: Dns = Dns()
    node_ports: tuple[int, ...] = (30000, 32767)
    ports: tuple[Port, ...] = ()
    mesh_up_to: int = Field(default=64, ge=2)
    sample: int = Field(default=3, ge=1)
    probe_seconds: float = Field(default=1.5, ge=0.2, le=5)
    skew_seconds: float = Field(default=5, gt=0)
    conntrack_percent: int = Field(default=75, ge=1, le=100)
    monitoring: bool = True
    backup: str = "network-backup"
    backup_days: int = Field(default=30, ge=1)
    waivers: tuple[Waived, ...] = ()

    @field_validator("node_ports")
    @classmethod
    def _in_range(cls, found: tuple[int, ...]) -> tuple[int, ...]:
        for port in found:
            if not 1 <= port <= 65535:
                raise ValueError(f"not a port: {port}; use 30000 to 32767")
        return found
