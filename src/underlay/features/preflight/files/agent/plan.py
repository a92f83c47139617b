"""What one node is told, and the packets that carry its run's number."""

import socket
import struct
from typing import Any, Dict, Optional, Tuple

SMALL = 64
ECHO, ACK, REPLY = 0, 1, 2
MAGIC = b"underlay"
HEAD = struct.Struct("!8s8sBHHI")


class Plan:
    """What to do; see features/preflight/agent.py, which writes it."""

    def __init__(self, found: Dict[str, Any]) -> None:
        self.run = bytes.fromhex(found["run"])
        self.me = found["me"]
        self.address = found["address"]
        self.peers = found["peers"]
        self.listen = found["listen"]
        self.flows = found["flows"]
        self.icmp = found["icmp"]
        self.second = {int(peer): address for peer, address in found["second"].items()}
        self.mtu = found["mtu"]
        self.dns = found["dns"]
        self.places = found["places"]
        self.hears = found["hears"]
        self.wait = found["wait"]
        self.lease = found["lease"]
        self.deadline = found["deadline"]

    def where(self, protocol: str, peer: int) -> str:
        """The address of a peer that a protocol goes to: the second one for `icmp6`."""
        return str(self.second[peer] if protocol == "icmp6" else self.peers[peer][1])

    def ends(self, protocol: str, peer: int, port: int) -> Tuple[str, str, int]:
        """Own address, the peer's, its port: the node addresses, or where a tunnel goes."""
        usual = (self.address, str(self.peers[peer][1]), port)
        own, far, there = self.places.get(f"{protocol}/{port}/{peer}", usual)
        return own, far, there

    def heard_at(self, protocol: str, port: int) -> str:
        """The address that is listened on."""
        return str(self.hears.get(f"{protocol}/{port}", self.address))


def family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packet(plan: Plan, kind: int, number: int, value: int, size: int = SMALL) -> bytes:
    head = HEAD.pack(MAGIC, plan.run, kind, plan.me, number & 0xFFFF, value)
    return (head + plan.run * (size // 8 + 1))[: max(size, HEAD.size)]


def opened(plan: Plan, data: bytes) -> Optional[Tuple[int, int, int, int]]:
    """kind, source, number, value of one of our packets; None for anything else."""
    if len(data) < HEAD.size:
        return None
    magic, run, kind, source, number, value = HEAD.unpack_from(data)
    return (kind, source, number, value) if (magic, run) == (MAGIC, plan.run) else None
