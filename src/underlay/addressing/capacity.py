"""Whether a pod CIDR holds all nodes and their pods. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.addressing.overlap import block_size, blocks, network

#: Bits of one node's block when nobody says otherwise: Calico's, the controller-manager's v4, v6.
CALICO, V4, V6 = 26, 24, 64


def shortfalls(
    pod_cidr: str, *, nodes: int, max_pods: int, calico: bool, prefix: int | None = None
) -> Iterator[str]:
    """One sentence for each way in which the range is too small.

    calico: gives a node more blocks when one is full, so only the sum counts.
    """
    pods = network(pod_cidr)
    bits = prefix or (CALICO if calico else V4 if pods.version == 4 else V6)
    if calico:
        need, room = nodes * max_pods, block_size(pods, pods.prefixlen)
        if need > room:
            yield f"pod CIDR {pods} holds {room} pods, {nodes} nodes may run {need}"
        return
    if blocks(pods, bits) < nodes:
        held = blocks(pods, bits)
        yield f"pod CIDR {pods} holds {held} blocks of /{bits}, there are {nodes} nodes"
    # the network, the gateway and the broadcast address of a block are no pods
    room = block_size(pods, bits) - 3
    if room < max_pods:
        yield f"a node's block of /{bits} holds {room} pods, max_pods is {max_pods}"
