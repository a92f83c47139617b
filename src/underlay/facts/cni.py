"""What a CNI has on a node: devices, files, plugins, its pods' MTU, the way to other nodes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api.command import StringCommand
from typing_extensions import override

from underlay.facts.script import ScriptFact

CNI_FOLDER = "/etc/cni/net.d"


@dataclass(frozen=True)
class Device:
    """One interface. addresses: without their prefix."""

    name: str
    mtu: int
    tx_queue_length: int
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Way:
    """How another node is reached. via: a router, "" on the same link; neighbour: has answered."""

    device: str
    via: str
    neighbour: bool


@dataclass(frozen=True)
class CniNode:
    """One node.

    files: names in /etc/cni/net.d in the order in which a runtime looks; plugins: names in the
    folder of plugins; bridge_nf: (IPv4, IPv6) rules see bridged packets, None where br_netfilter is
    not there; subnet: /run/flannel/subnet.env; pods: address -> MTU of its pod's interface; ways:
    address of another node -> way, absent without a route; offload: feature -> on, of the device
    asked for; rule: our udev rule, "" without it; tools: `ethtool` and `udevadm` to their path.
    """

    devices: Mapping[str, Device]
    files: tuple[str, ...]
    plugins: frozenset[str]
    bridge_nf: tuple[bool, bool] | None
    subnet: Mapping[str, str] = field(default_factory=dict)
    pods: Mapping[str, int] = field(default_factory=dict)
    ways: Mapping[str, Way] = field(default_factory=dict)
    offload: Mapping[str, bool] = field(default_factory=dict)
    rule: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> frozenset[str]:
        """Of all interfaces of the node itself."""
        return frozenset(a for device in self.devices.values() for a in device.addresses)


class Cni(ScriptFact[CniNode | None]):
    """Everything that installing a CNI needs to know of a node, in one command."""

    @override
    def command(
        self, plugins: str, device: str, rule: str, nodes: Sequence[str] = ()
    ) -> StringCommand:
        return self.run(readings(plugins, device, rule, nodes))

    @override
    def parse(self, readings: Mapping[str, list[str]]) -> CniNode:
        return parse(readings)


def readings(plugins: str, device: str, rule: str, nodes: Iterable[str]) -> dict[str, str]:
    """The shell text of each reading.

    plugins: folder of the plugins; device: whose offloads are read; rule: path of our udev rule;
    nodes: addresses of other nodes, each sent a packet so that the kernel looks for its MAC.
    """
    others = " ".join(shlex.quote(address) for address in nodes)
    return {
        "devices": "ip -j addr show",
        "files": f"cd {CNI_FOLDER} && LC_ALL=C ls",
        "plugins": f"ls {shlex.quote(plugins)}",
        "bridge-nf": "cd /proc/sys/net/bridge && cat bridge-nf-call-iptables"
        " bridge-nf-call-ip6tables",
        "subnet": "cat /run/flannel/subnet.env",
        # every container runtime of Kubernetes keeps the namespaces of its sandboxes here
        "pods": "for n in $(ls /run/netns); do ip -n $n -j addr show dev eth0; echo; done",
        "ways": (
            # a datagram asks for the MAC as well, where there is no ping
            f"for a in {others}; do {{ bash -c 'echo > /dev/udp/$0/9' $a; ping -n -c 1 -W 2 $a ||"
            " sleep 1; } >/dev/null & done; wait;"
            f" for a in {others}; do ip -j route get $a; echo; done"
        )
        if others
        else ":",
        "neighbours": "ip -j neigh show" if others else ":",
        "offload": f"ethtool -k {shlex.quote(device)}" if device else ":",
        "rule": f"cat {shlex.quote(rule)}",
        "tools": "for t in ethtool udevadm; do command -v $t; done",
    }


def parse(found: Mapping[str, list[str]]) -> CniNode:
    """From the lines of each reading."""
    switches = [line.strip() == "1" for line in found["bridge-nf"]]
    return CniNode(
        devices={device.name: device for device in map(_device, _json(found["devices"]))},
        files=tuple(found["files"]),
        plugins=frozenset(found["plugins"]),
        bridge_nf=(switches[0], switches[1]) if len(switches) == 2 else None,
        subnet=dict(line.split("=", 1) for line in found["subnet"] if "=" in line),
        pods={
            address: device.mtu
            for device in map(_device, _json(found["pods"]))
            for address in device.addresses
            if not address.startswith("fe80:")
        },
        ways=dict(_ways(found["ways"], found["neighbours"])),
        offload=dict(_offload(found["offload"])),
        rule="".join(f"{line}\n" for line in found["rule"]),
        tools={line.rpartition("/")[2]: line for line in found["tools"]},
    )


def _json(lines: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in lines:
        if line.startswith("["):
            found += [entry for entry in json.loads(line) if entry]
    return found


def _device(entry: Mapping[str, Any]) -> Device:
    return Device(
        name=str(entry["ifname"]),
        mtu=int(entry.get("mtu", 0)),
        tx_queue_length=int(entry.get("txqlen", 0)),
        addresses=tuple(str(a["local"]) for a in entry.get("addr_info", []) if "local" in a),
    )


def _ways(routes: Sequence[str], neighbours: Sequence[str]) -> Iterable[tuple[str, Way]]:
    """A neighbour is one whose MAC the kernel has learnt."""
    known = {
        str(entry["dst"])
        for entry in _json(neighbours)
        if "lladdr" in entry and "FAILED" not in entry.get("state", [])
    }
    for entry in _json(routes):
        address = str(entry["dst"])
        gateway = str(entry.get("gateway", ""))
        yield address, Way(str(entry.get("dev", "")), gateway, address in known)


def _offload(lines: Sequence[str]) -> Iterable[tuple[str, bool]]:
    for line in lines:
        name, colon, value = line.strip().partition(":")
        if colon and value.split()[:1] in (["on"], ["off"]):
            yield name, value.split()[0] == "on"
