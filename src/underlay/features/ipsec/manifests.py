"""Kubernetes objects beside a link: Calico's pools and peers, Services of the other side. Pure.

The rule: an object is whole and can be applied as it is, by its served API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from underlay.features.ipsec import plan
from underlay.features.ipsec.settings import Link

CALICO = "projectcalico.org/v3"


def pools(name: str, link: Link, side: str) -> Iterator[dict[str, Any]]:
    """Disabled IPPools: Calico masquerades only to what lies in none of its pools."""
    for number, cidr in enumerate(plan.networks(link, plan.far(link, side)), start=1):
        yield {
            "apiVersion": CALICO,
            "kind": "IPPool",
            "metadata": {"name": f"ipsec-{name}-{number}"},
            "spec": {"cidr": str(cidr), "disabled": True, "natOutgoing": False},
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

    An ExternalName with an address in it is a DNS name of digits, which nobody resolves.
    """
    for address in addresses:
        ip_address(address)
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
            {"addresses": [address], "conditions": {"ready": True}} for address in addresses
        ],
    }
