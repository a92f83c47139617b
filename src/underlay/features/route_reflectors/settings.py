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
    """An IPv4 address, not 0.0.0.0."""
    try:
        found = IPv4Address(text)
    except ValueError as error:
        raise ValueError(f"not an IPv4 address: {text!r}; write it as 244.0.0.1") from error
    if int(found) == 0:
        raise ValueError("0.0.0.0 is no cluster id; write it as 244.0.0.1")
    return str(found)


def _as_number(number: int) -> int:
    """1 to 4294967294, not 23456 or 65535."""
    if not 0 < number < 2**32 or number in RESERVED_AS:
        raise ValueError(
            f"no AS has the number {number}; use 64512 to 65534, 4200000000 to 4294967294, or one"
            " that is yours"
        )
    return number


def _selector(text: str) -> str:
    """A selector of Calico over labels of nodes."""
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
    """A key of a Secret in calico-node's namespace; the password itself never is a setting [Calico,
    BGPPeer password].

    name: name of the Secret {a name of an object}.
    key: which key of the Secret holds the password {a key in it}.
    """

    name: str
    key: str = "password"


class Group(Part):
    """Reflectors with one cluster id, and the nodes that peer with all of them [RFC 4456].

    cluster_id: number of this group of reflectors, in the form of an address [RFC 4456, section 7;
        Calico, Node routeReflectorClusterID].
    reflectors: hosts that become reflectors, two or more {each a host of the inventory}.
    clients: nodes that peer with these reflectors, a reflector is never a client [Calico, BGPPeer
        nodeSelector].
    """

    cluster_id: ClusterId
    reflectors: tuple[str, ...]
    clients: Selector = "all()"


class Router(Part):
    """A BGP router that is no node [Calico, BGPPeer].

    address: address of the router [Calico, BGPPeer peerIP].
    as_number: AS number of the router [RFC 7607, RFC 6793, RFC 7300].
    groups: groups whose reflectors peer with it, () for all {each a name in `groups`}.
    password: where the password of the session lies [RFC 2385; Calico, BGPPeer password].
    """

    address: Address
    as_number: AsNumber
    groups: tuple[str, ...] = ()
    password: SecretKey | None = None


class RouteReflectors(Section):
    """What replaces Calico's full mesh [RFC 4456].

    groups: name -> reflectors with one cluster id.
    routers: name -> a BGP router that is no node [Calico, BGPPeer].
    mesh: leads back to the mesh and removes what we made [Calico, BGPConfiguration
        nodeToNodeMeshEnabled].
    as_number: AS number that the nodes must have, none for what the cluster has [Calico,
        BGPConfiguration asNumber].
    label: key of the label on reflectors, its value is the group {a key of a label} [Kubernetes,
        labels and selectors].
    allow_single: a group may have one reflector only [underlay].
    loaded: what to do with pods on a node that becomes or ceases to be a reflector, `accept` leaves
        them, out of reach for seconds [Calico, configure BGP peering].
    delete_local_data: a drain may remove pods that nobody makes anew, and emptyDir volumes
        [Kubernetes, kubectl drain].
    without: nodes that need not prove anything {each a name of a Node} [underlay].
    wait_seconds: how many seconds a gate waits for sessions and routes [underlay].
    drain_seconds: how many seconds a drain may take [Kubernetes, kubectl drain].
    status: where the state of sessions is read [Calico, CalicoNodeStatus].
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
