"""Packets of protocols without ports, as middle boxes take them for real ones."""

import ctypes
import socket
import struct

RAW = {"ipip": 4, "esp": 50}


def checksum(data: bytes) -> int:
    total = sum(
        int(word)
        for word in struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    )
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def wrapped(protocol: str, source: str, target: str, data: bytes) -> bytes:
    """`data` as the inside of a tunnel packet that middle boxes take for a real one."""
    if protocol == "esp":
        return b"unde" + struct.pack("!I", 1) + data
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, 253, 0)
    total = checksum(start + ends)
    return start[:10] + struct.pack("!H", total) + ends + data


def unwrapped(protocol: str, data: bytes) -> bytes:
    """The inside of a raw packet, which starts with its outer IPv4 header."""
    return data[(data[0] & 15) * 4 + (8 if protocol == "esp" else 20) :] if data else b""


def only_ours(found: socket.socket, offset: int) -> None:
    """Let the kernel drop what does not carry our mark: a busy tunnel must not flood the loop."""
    rows = [
        (0xB1, 0, 0, 0),
        (0x40, 0, 0, offset),
        (0x15, 0, 1, 0x756E6465),
        (6, 0, 0, 1 << 18),
        (6, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in rows))
    found.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", len(rows), ctypes.addressof(code)))
