"""A node as checks see it: identity, links, routes, kernel, resolvers, daemons, CNI files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any

from underlay.facts.kernel import ModuleState, normal, states
from underlay.facts.node_readings import node_readings
from underlay.facts.script import reading_script, split_readings
from underlay.facts.sysctl import FOLDERS, Line, at_boot, boot_order, key_of


@dataclass(frozen=True)
class Link:
    """One interface. kind: `vxlan`, `veth`, `bridge`, ... or "" for hardware."""

    name: str
    mtu: int
    up: bool
    mac: str
    kind: str = ""


@dataclass(frozen=True)
class Route:
    """One unicast route of any table; destination: a network as text, never `default`."""

    destination: str
    device: str
    via: str = ""


@dataclass(frozen=True)
class Neighbours:
    """The table of neighbours of one family, which all namespaces of a machine share.

    limit: gc_thresh3; used: entries now; overflows: entries refused since the machine started.
    """

    limit: int
    used: int
    overflows: int


@dataclass(frozen=True)
class Node:
    """What one node said. A field is empty or None where the node does not have it or not tell it.

    addresses: interface -> addresses with their prefix; lines: assignments of sysctl.d in boot
    order; programs: names of running processes; conntrack: (entries, limit); agents: folders of
    earlier pre-flights; neighbours: by family, 4 or 6; ipv6: keys below net.ipv6.conf; felix:
    whether Calico shows its metrics.
    """

    hostname: str
    machine_id: str = ""
    product_uuid: str = ""
    release: str = ""
    distribution: str = ""
    root: bool = True
    tools: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    default_device: str = ""
    modules: Mapping[str, ModuleState] = field(default_factory=dict)
    blacklisted: frozenset[str] = frozenset()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    ufw_lines: tuple[Line, ...] = ()
    resolvers: tuple[str, ...] = ()
    uplink_resolvers: tuple[str, ...] = ()
    kubelet: tuple[str, ...] = ()
    kubelet_flags: str = ""
    containerd_systemd: bool | None = None
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    swaps: tuple[str, ...] = ()
    programs: frozenset[str] = frozenset()
    cni: tuple[str, ...] = ()
    networkd: tuple[str, ...] = ()
    network_manager: tuple[str, ...] = ()
    ufw: bool = False
    conntrack: tuple[int, int] | None = None
    proxy_mode: str = ""
    flannel: Mapping[str, str] = field(default_factory=dict)
    agents: tuple[str, ...] = ()
    neighbours: Mapping[int, Neighbours] = field(default_factory=dict)
    ipv6: Mapping[str, str] = field(default_factory=dict)
    felix: bool = False

    def link(self, name: str) -> Link | None:
        """An interface by name."""
        return next((link for link in self.links if link.name == name), None)

    def interface_of(self, address: str) -> str:
        """The interface that carries an address, "" for none."""
        for name, found in self.addresses.items():
            if any(str(interface(text).ip) == address for text in found):
                return name
        return ""

    def boot_value(self, key: str) -> Line | None:
        """The line that wins at boot; ufw applies its own file after all others."""
        found = [*at_boot(self.lines, key), *(line for line in self.ufw_lines if line.key == key)]
        return found[-1] if found else None

    def kubelet_value(self, key: str) -> str:
        """A plain top-level key of the kubelet's configuration, "" when it is not there."""
        for line in self.kubelet:
            name, colon, value = line.partition(":")
            if colon and name == key:
                return value.strip().strip("\"'")
        return ""


def command(
    modules: Iterable[str], sysctls: Iterable[str], more: Mapping[str, str] | None = None
) -> str:
    """The one command that reads a node; plain ASCII comes back.

    more: name -> shell text of readings that one node has beside those of all.
    """
    script = reading_script({**node_readings(modules, sysctls), **(more or {})})
    # bytes that are no text would break the decoding of the whole answer
    return f"{{ {script}\n}} | LC_ALL=C tr -d '\\000-\\010\\013-\\037\\177-\\377'"


def read(output: Sequence[str]) -> tuple[Node, dict[str, list[str]]]:
    """From the command's output: the node, and the lines of every reading by its name.

    ValueError when the output broke off.
    """
    found = split_readings(output)
    return parse(found), found


def parse(found: Mapping[str, list[str]]) -> Node:
    """From the lines of each reading."""
    release, distribution = (*found["release"], "", "")[:2]
    numbers = [int(line) for line in found["conntrack"] if line.isdigit()]
    lines, ufw_lines = _boot(found["boot"])
    routes, default = _routes(found["routes"])
    return Node(
        hostname=_first(found["hostname"]),
        machine_id=_first(found["machine-id"]),
        product_uuid=_first(found["product-uuid"]).lower(),
        release=release,
        distribution=distribution,
        root=_first(found["uid"]) == "0",
        tools=tuple(line.rpartition("/")[2] for line in found["tools"]),
        links=_links(found["links"]),
        addresses=_addresses(found["addresses"]),
        routes=routes,
        default_device=default,
        modules=states(found["loaded"], found["there"], found["would"]),
        blacklisted=frozenset(
            normal(line.split()[1]) for line in found["blacklist"] if line.split()[1:]
        ),
        sysctls=_values(found["values"]),
        lines=lines,
        ufw_lines=ufw_lines,
        resolvers=_resolvers(found["resolv"]),
        uplink_resolvers=_resolvers(found["resolv-uplink"]),
        kubelet=tuple(found["kubelet"]),
        kubelet_flags=" ".join(found["kubelet-flags"]),
        containerd_systemd=_containerd(found["containerd"]),
        hosts=tuple(_hosts(found["hosts"])),
        swaps=tuple(line.split()[0] for line in found["swaps"][1:] if line.split()),
        programs=frozenset(found["programs"]),
        cni=tuple(found["cni"]),
        networkd=_settings(found["networkd"]),
        network_manager=_settings(found["network-manager"]),
        ufw=any("yes" in line.lower() for line in found["firewalls"]),
        conntrack=(numbers[0], numbers[1]) if len(numbers) == 2 else None,
        proxy_mode=_first(found["proxy-mode"]),
        flannel=dict(line.split("=", 1) for line in found["flannel"] if "=" in line),
        agents=tuple(found["agents"]),
        neighbours=_neighbours(found),
        ipv6=_values(found["ipv6"]),
        felix=bool(found["felix"]),
    )


def interface(text: str) -> IPv4Interface | IPv6Interface:
    """An address with its prefix."""
    return ip_interface(text)


def _first(lines: Sequence[str]) -> str:
    return lines[0].strip() if lines else ""


def _json(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Every list that the lines hold; an iproute2 without `-j` gives none."""
    found: list[dict[str, Any]] = []
    for line in lines:
        if line.startswith("["):
            try:
                part = json.loads(line)
            except ValueError:
                continue
            found += [entry for entry in part if isinstance(entry, dict)]
    return found


def _links(lines: Sequence[str]) -> tuple[Link, ...]:
    return tuple(
        Link(
            str(entry["ifname"]), int(entry.get("mtu", 0)), "LOWER_UP" in entry.get("flags", []),
            str(entry.get("address", "")), str(entry.get("linkinfo", {}).get("info_kind", "")),
        )
        for entry in _json(lines)
        if "ifname" in entry
    )  # fmt: skip


def _addresses(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {
        str(entry["ifname"]): tuple(
            f"{address['local']}/{address['prefixlen']}"
            for address in entry.get("addr_info", [])
            if "local" in address
        )
        for entry in _json(lines)
        if "ifname" in entry
    }


def _routes(lines: Sequence[str]) -> tuple[tuple[Route, ...], str]:
    """Unicast routes but the default ones, and the device of the first default one."""
    found, default = [], ""
    for entry in _json(lines):
        destination, device = str(entry.get("dst", "")), str(entry.get("dev", ""))
        if destination == "default":
            default = default or device
        elif entry.get("type", "unicast") == "unicast" and destination and device != "lo":
            found.append(Route(destination, device, str(entry.get("gateway", ""))))
    return tuple(found), default


def _neighbours(found: Mapping[str, list[str]]) -> dict[int, Neighbours]:
    """The limit, then the kernel's table of counters: one row per processor, in hex."""
    tables = {}
    for family, name in ((4, "neighbours"), (6, "neighbours-v6")):
        limit, head, *rows = [line.split() for line in (*found[name], "", "")]
        if not limit or not limit[0].isdigit() or "entries" not in head:
            continue
        counters = [dict(zip(head, row, strict=False)) for row in rows if len(row) >= len(head)]
        used = max((int(row["entries"], 16) for row in counters), default=0)
        full = sum(int(row.get("table_fulls", "0"), 16) for row in counters)
        tables[family] = Neighbours(int(limit[0]), used, full)
    return tables


def _values(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {key_of(path): " ".join(value.split()) for path, _, value in pairs}


def _boot(lines: Sequence[str]) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    known = [line for line in lines if line.startswith(FOLDERS)]
    ufw = boot_order(line for line in lines if line.startswith("/etc/ufw/"))
    return boot_order(known), ufw


def _resolvers(lines: Sequence[str]) -> tuple[str, ...]:
    words = (line.split() for line in lines)
    return tuple(word[1] for word in words if len(word) > 1 and word[0] == "nameserver")


def _containerd(lines: Sequence[str]) -> bool | None:
    text = " ".join(lines).replace(" ", "")
    return "SystemdCgroup=true" in text if lines else None


def _hosts(lines: Sequence[str]) -> Iterable[tuple[str, tuple[str, ...]]]:
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) > 1:
            yield words[0], tuple(words[1:])


def _settings(lines: Sequence[str]) -> tuple[str, ...]:
    """Lines of an INI file that say something."""
    return tuple(line.strip() for line in lines if "=" in line and line.strip()[0] not in "#;")
