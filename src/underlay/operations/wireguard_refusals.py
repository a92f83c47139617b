"""Why overlays cannot be on a host, and what of them should be known. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, ip_interface, ip_network

from underlay.facts.firewall import Wall
from underlay.facts.wireguard_host import Host
from underlay.operations.wireguard_plan import Interface


def cut_off(found: Host, wanted: Sequence[Interface]) -> tuple[str, str | None, str] | None:
    """Whether this host could never be reached again: what, got, do; None when it could.

    A guard cannot help: the hub forgets this host, and its key, in the same run.
    """
    server = found.ssh[1] if found.ssh else ""
    kept = {interface.address.partition("/")[0] for interface in wanted}
    for name in found.ours:
        link = found.links.get(name)
        own = {address.partition("/")[0] for address in link.addresses} if link else set()
        if server in own - kept:
            return (
                f"this computer reaches the host at an address of {name} that is to go",
                server,
                "give ssh_hostname another address first, or apply with the overlay and that"
                " address as they are",
            )
    return None


def refusals(found: Host, wanted: Sequence[Interface]) -> list[str]:
    """Why interfaces cannot be made here, each with what to do."""
    if not wanted:
        return []
    problems = [
        f"{tool}: not installed; install {package}"
        for tool, package in (
            ("wg", "wireguard-tools"), ("ip", "iproute2"), ("flock", "util-linux"),
            ("systemctl", "systemd, which starts the interfaces at boot"),
        )
        if tool not in found.tools
    ]  # fmt: skip
    if found.kernel == "missing" and not found.userspace:
        problems.append(
            "the kernel has no module wireguard and there is no userspace program; install the"
            " kernel's extra modules, wireguard-go or boringtun"
        )
    for interface in wanted:
        problems += _conflicts(found, interface)
    return problems


def _conflicts(found: Host, wanted: Interface) -> list[str]:
    """Who else has this interface's name, port or routes."""
    name = wanted.name
    problems = []
    live = found.links.get(name)
    if live is not None and name not in found.ours:
        problems.append(f"interface {name}: exists and is not ours; remove it or choose a name")
    if wanted.port in found.ports and (live is None or live.port != wanted.port):
        owner = next(
            (dev for dev, link in found.links.items() if link.port == wanted.port and dev != name),
            "another program",
        )
        # one of ours leaves the port in this run: two of the inventory never share one
        if owner not in found.ours:
            problems.append(
                f"UDP port {wanted.port}: taken by {owner} (Calico, flannel and Kilo use 51820"
                f" too); set another wireguard.overlays.{name}.port"
            )
    own = {str(ip_network(wanted.address, strict=False)), *wanted.routes}
    for route in found.routes:
        others = route.device not in {name, "", *found.ours} and not route.ours
        if route.to in own and others:
            problems.append(
                f"route {route.to}: leaves by {route.device} already; remove it, or say"
                " `encapsulated` when the CNI carries pods itself"
            )
    return problems


def notes(found: Host, wanted: Sequence[Interface]) -> list[str]:
    """What works, and should be known."""
    told = []
    if wanted and found.kernel == "missing" and found.userspace:
        told.append(
            f"the kernel has no module wireguard; {found.userspace} carries the traffic in"
            " userspace, several times slower"
        )
    forwarding = [interface.name for interface in wanted if interface.forwards]
    if forwarding and "forward" in found.drops and found.firewall_tool == "":
        told.append(
            "forwarded packets are dropped by policy, and neither iptables nor nft is there to"
            f" let those of {', '.join(forwarding)} pass"
        )
    for interface in wanted:
        told += _other_ways(found, interface)
    for wall in found.walls:
        told += [text for interface in wanted if (text := _behind(wall, interface))]
    for program in found.programs:
        told += _beside(program, wanted)
    return told


def _other_ways(found: Host, wanted: Interface) -> list[str]:
    """Networks of this interface of which a route of somebody else is a part, or the reverse."""
    own = [IPv4Network(text, strict=False) for text in (wanted.address, *wanted.routes)]
    told = []
    for route in found.routes:
        network = _network(route.to)
        if network is None or route.ours or route.device in {wanted.name, "", *found.ours}:
            continue
        for mine in own:
            if mine == network or not mine.overlaps(network):
                continue
            narrow = f"{network} leaves by {route.device}, not by {wanted.name}"
            wide = f"{mine} leaves by {wanted.name}, not by {route.device} as {network} does"
            told.append(narrow if network.prefixlen > mine.prefixlen else wide)
    more = [f"and {len(told) - 3} more networks of {wanted.name} with another way"]
    return [*told[:3], *(more if len(told) > 3 else [])]


def _network(text: str) -> IPv4Network | None:
    """The network of a route; None for the default and for words such as `blackhole`."""
    try:
        return IPv4Network(text)
    except ValueError:
        return None


def _behind(wall: Wall, wanted: Interface) -> str:
    """What a firewall of somebody else drops of this interface, "" when it names it."""
    name, port = wanted.name, str(wanted.port)
    if wall.hook == "input":
        concerned = wanted.opens_v6 if wall.family == "ip6" else wanted.opens
        what, rule = f"UDP port {port}, so that peers cannot call", f"udp dport {port} accept"
        order = f"--add-port={port}/udp"
    else:
        concerned = wanted.forwards and wall.family != "ip6"
        what = f"{name}, so that spokes do not reach each other"
        rule, order = (
            f"iifname {name} oifname {name} accept",
            f"--zone=trusted --add-interface={name}",
        )
    if not concerned or wall.names(port if wall.hook == "input" else name):
        return ""
    if wall.firewalld:
        do = f"firewall-cmd --permanent {order}, then firewall-cmd --reload"
    else:
        do = f"add there: {rule}"
    return (
        f"firewall: {wall} drops what it does not name, whatever our own rules say, and does not"
        f" name {what}; {do}"
    )


def _beside(program: Sequence[str], wanted: Sequence[Interface]) -> list[str]:
    """Pods use a tunnel only when their programs are told to; that is not ours to set."""
    if not wanted:
        return []
    name, *words = program
    addresses = [one.address.partition("/")[0] for one in wanted]
    names = [one.name for one in wanted]
    given = {part for word in words for part in word.split(",")}
    if name == "kubelet" and not given & set(addresses):
        return [
            f"kubelet runs without --node-ip={addresses[0]}: what goes to this node goes past"
            f" {names[0]}"
        ]
    if name == "flanneld" and not given & {*names, *addresses}:
        return [f"flanneld runs without --iface={names[0]}: pods go past {names[0]}"]
    if name == "calico-node" and not _detects(words, wanted):
        return [
            f"calico-node runs without IP_AUTODETECTION_METHOD=interface=^{names[0]}$: pods go past"
            f" {names[0]}"
        ]
    return []


def _detects(words: Sequence[str], wanted: Sequence[Interface]) -> bool:
    """Whether Calico may take an overlay for its node address, or leaves the network to others."""
    given = dict(word.partition("=")[::2] for word in words)
    if given.get("CALICO_NETWORKING_BACKEND") == "none":
        return True
    kind, _, value = given.get("IP_AUTODETECTION_METHOD", "").partition("=")
    try:
        if kind == "cidr":
            networks = [ip_network(text, strict=False) for text in value.split(",")]
            return any(ip_interface(one.address).ip in cidr for one in wanted for cidr in networks)
        if kind == "interface":
            patterns = value.split(",")
            return any(re.search(pattern, one.name) for one in wanted for pattern in patterns)
    except (ValueError, re.error):
        # what it makes of that is its own affair
        return True
    return kind in {"kubernetes-internal-ip", "can-reach", "skip-interface"}
