"""Kubernetes objects beside a link: Calico's pools and peers, Services of the other side. Pure.

The rule: an object is whole and can be applied as it is, by its served API.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import collapse_addresses, ip_address
from typing import Any

from underlay.features.ipsec import plan
from underlay.features.ipsec.settings import Link

CALICO = "projectcalico.org/v3"
#: Prefix of the blocks that Calico gives to nodes, unless a pool says another.
BLOCK = 26
#: What Kubernetes takes as the name of a Service; a suffix of ours must fit behind it.
NAME = re.compile(r"[a-z]([a-z0-9-]{0,54}[a-z0-9])?")


def pools(name: str, link: Link, side: str) -> Iterator[dict[str, Any]]:
    """Disabled IPPools: Calico masquerades only to what lies in none of its pools.

    Calico refuses pools that overlap or are smaller than a block, and another network for a pool
    that is there: hence the name.
    """
    for cidr in collapse_addresses(plan.networks(link, plan.far(link, side))):
        spec: dict[str, Any] = {"cidr": str(cidr), "disabled": True, "natOutgoing": False}
        if cidr.prefixlen > BLOCK:
            spec["blockSize"] = cidr.prefixlen
        words = re.sub(r"[./]", "-", str(cidr))
        yield {
            "apiVersion": CALICO,
            "kind": "IPPool",
            "metadata": {"name": f"ipsec-{name}-{words}"},
            "spec": spec,
        }


def bgp_peer(name: str, address: str, number: int, nodes: str) -> dict[str, Any]:
    """A session with the other cluster. nodes: selector of the nodes that have it."""
    ip_address(address)
    return {
        "apiVersion": CALICO,
        "kind": "BGPPeer",
        "metadata": {"name": f"ipsec-{name}-{address.replace('.', '-')}"},
        "spec": {"peerIP": address, "asNumber": number, "nodeSelector": nodes},
    }


def service(
    name: str, namespace: str, addresses: tuple[str, ...], ports: Mapping[int, int]
) -> Iterator[dict[str, Any]]:
    """A Service without selector and its EndpointSlice. ports: port here -> port there.

    An ExternalName with an address in it is a DNS name of digits, which nobody resolves. ValueError
    is what Kubernetes would refuse, as `what; do`.
    """
    for text in (name, namespace):
        if not NAME.fullmatch(text):
            raise ValueError(f"no name of Kubernetes: {text!r}; use up to 56 of a-z, 0-9 and -")
    for address in addresses:
        found = ip_address(address)
        if found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
            raise ValueError(f"no address of a pod or Service: {address}; give one of the far side")
    for port in (*ports, *ports.values()):
        if not 1 <= port <= 65535:
            raise ValueError(f"no port: {port}; use 1 to 65535")
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "ports": [
                {"name": f"p{port}", "port": port, "targetPort": there, "protocol": "TCP"}
                for port, there in ports.items()
            ]
        },
    }
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-remote",
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "underlay",
            },
        },
        "addressType": "IPv4",
        "ports": [
            {"name": f"p{port}", "port": there, "protocol": "TCP"} for port, there in ports.items()
        ],
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}}
            for address in dict.fromkeys(addresses)
        ],
    }
