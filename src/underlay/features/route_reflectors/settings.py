"""The `route_reflectors` section: groups of reflectors, their clients, and routers outside."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from underlay.features.route_reflectors import selector
from underlay.settings import Part, Section
from underlay.settings.network import Address

#: Never an AS of anybody: RFC 7607 (0), RFC 6793 (AS_TRANS), RFC 7300 (the last ones).
RESERVED_AS = {0, 23456, 65535, 4294967295}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_LABEL = re.compile(r"([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def _cluster_id(text: str) -> str:
    try:
        found = IPv4Address(text)
    except ValueError as error:
        raise ValueError(f"not an IPv4 address: {text!r}; write it as 244.0.0.1") from error
    if int(found) == 0:
        raise ValueError("0.0.0.0 is no cluster id; write it as 244.0.0.1")
    return str(found)


def _as_number(number: int) -> int:
    if not 0 < number < 2**32 or number in RESERVED_AS:
        raise ValueError(
            f"no AS has the number {number}; use 64512 to 65534, 4200000000 to 4294967294, or one"
            " that is yours"
        )
    return number


def _selector(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; write all() for every node")
    if "routeReflectorClusterID" in selector.keys(text):
        raise ValueError(
            "routeReflectorClusterID is a field of Calico's node and not a label, so no selector"
            " sees it; select by labels of the nodes"
        )
    return text


def _names(found: dict[str, object]) -> dict[str, object]:
    for name in found:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name: {name!r}; use at most 40 of a-z, 0-9 and -")
    return found


ClusterId = Annotated[str, AfterValidator(_cluster_id)]
AsNumber = Annotated[int, AfterValidator(_as_number)]
Selector = Annotated[str, AfterValidator(_selector)]


class SecretKey(Part):
    """A key of a Secret in calico-node's namespace; the password itself never is a setting.

    name: of the Secret; key: in it.
    """

    name: str
    key: str = "password"


class Group(Part):
    """Reflectors with one cluster id, and the nodes that peer with all of them.

    cluster_id: IPv4 address of its own; reflectors: hosts of the inventory; clients: Calico
    selector over the labels of nodes, reflectors are never clients.
    """

    cluster_id: ClusterId
    reflectors: tuple[str, ...]
    clients: Selector = "all()"


class Router(Part):
    """A BGP router that is no node.

    address: of the router; as_number: its own; groups: whose reflectors peer with it, () for all of
    them; password: where it lies.
    """

    address: Address
    as_number: AsNumber
    groups: tuple[str, ...] = ()
    password: SecretKey | None = None


class RouteReflectors(Section):
    """What replaces Calico's full mesh.

    groups: name to reflectors with one cluster id; routers: name to a BGP router that is no node;
    mesh: True leads back to the mesh and removes what we made; as_number: of the nodes, checked
    against the cluster, None for what it has; label: key of the label on reflectors, its value is
    the group; allow_single: a group may have one reflector; loaded: what to do with pods on a node
    that becomes or ceases to be a reflector, refuse, drain it, or accept that they cannot be
    reached for seconds; delete_local_data: a drain may remove pods that nobody makes anew and
    emptyDir volumes; without: nodes that need not prove
    anything; wait_seconds: how long a gate waits; drain_seconds: how long a drain may take; status:
    where sessions are read.
    """

    KEY: ClassVar[str] = "route_reflectors"

    groups: dict[str, Group] = Field(default_factory=dict)
    routers: dict[str, Router] = Field(default_factory=dict)
    mesh: bool = False
    as_number: AsNumber | None = None
    label: str = "route-reflector"
    allow_single: bool = False
    loaded: Literal["refuse", "drain", "accept"] = "refuse"
    delete_local_data: bool = False
    without: tuple[str, ...] = ()
    wait_seconds: int = Field(default=120, ge=10, le=3600)
    drain_seconds: int = Field(default=600, ge=10, le=7200)
    status: Literal["auto", "birdcl", "calico-node-status"] = "auto"

    _group_names = field_validator("groups", "routers")(_names)

    @field_validator("label")
    @classmethod
    def _label(cls, found: str) -> str:
        if not _LABEL.fullmatch(found):
            raise ValueError(f"not the key of a label: {found!r}; write it as route-reflector")
        return found

    @property
    def wanted(self) -> bool:
        """Whether reflectors replace the mesh."""
        return bool(self.groups) and not self.mesh
