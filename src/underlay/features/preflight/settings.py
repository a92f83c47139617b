"""The `preflight` section: what is probed, how hard, and what counts as good."""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from underlay.settings import Part, Section
from underlay.settings.network import Address


class Dns(Part):
    """Names that every node must resolve; none are asked unless they are named here.

    cluster: names of the cluster's own zone, asked of `server`; outside: names asked of the node's
    resolvers; server: address of the cluster DNS Service.
    """

    cluster: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    server: Address | None = None

    @model_validator(mode="after")
    def _asked_of_somebody(self) -> Dns:
        if self.cluster and self.server is None:
            raise ValueError("cluster names without a server; give the cluster DNS address")
        return self


class Port(Part):
    """One more port that nodes need of each other.

    port: its number; protocol: of the transport; sources, targets: groups, `all` for everyone; why:
    what the report says of it.
    """

    port: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"
    sources: str = "all"
    targets: str = "all"
    why: str = "declared in preflight.ports"


class Waived(Part):
    """A check that is not asked, as `--skip` leaves one out.

    id: of the check, or a pattern such as `host/*`, which no strict check obeys; reason: why, as
    the report says it; until: last day it counts, none for good.
    """

    id: str = Field(min_length=1, max_length=80)
    reason: str = Field(min_length=1, max_length=300, pattern=r"\S")
    until: date | None = None


class Preflight(Section):
    """How the pre-flight looks.

    dns: names that must resolve; node_ports: sample of the NodePort range that is tried; ports:
    more of them; mesh_up_to: nodes among which every pair is tried; sample: random peers of each
    node above `mesh_up_to` nodes; probe_seconds: one probe's longest wait;
    skew_seconds: clocks further apart fail; conntrack_percent: use of the table that warns;
    monitoring: whether its absence is worth a warning; backup: folder of `underlay backup` on this
    computer; backup_days: older ones warn; waivers: checks that are left out of every run.
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
