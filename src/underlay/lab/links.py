"""The links of a running lab: cut and join, MTU, loss and delay."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from underlay.errors import LabError
from underlay.lab import network, process, state
from underlay.lab.commands import run
from underlay.lab.network import Tap
from underlay.lab.state import Lab, Shape


def cut(lab: Lab, machine: str) -> None:
    """Cut a machine off from every link."""
    _set_machine(lab, machine, "down")


def join(lab: Lab, machine: str) -> None:
    """Join a machine to every link again."""
    _set_machine(lab, machine, "up")


def set_link(
    lab: Lab,
    link: str,
    *,
    mtu: int | None = None,
    loss: float | None = None,
    delay: float | None = None,
    up: bool | None = None,
) -> Lab:
    """Change one link: MTU in bytes, loss in percent, one-way delay in ms; None leaves as it is.

    Returns the lab with the process that shapes the link, if one does now. LabError for a link
    that does not exist.
    """
    ports = _taps(lab, link)
    for tap in ports:
        if mtu is not None:
            _ip(lab, "link", "set", tap.device, "mtu", str(mtu))
        if up is not None:
            _ip(lab, "link", "set", tap.device, "up" if up else "down")
    if loss is None and delay is None:
        return lab
    now = lab.shapes.get(link, Shape())
    wanted = Shape(
        loss=now.loss if loss is None else loss, delay=now.delay if delay is None else delay
    )
    return _shape(lab, link, ports, wanted)


def links(lab: Lab) -> list[dict[str, object]]:
    """Each link as it is now: name, machines, MTU, up, loss and delay."""
    devices = {
        entry["ifname"]: entry for entry in json.loads(_ip(lab, "-j", "link", "show") or "[]")
    }
    found: list[dict[str, object]] = []
    for link in lab.topology.links:
        ports = _taps(lab, link)
        shape = lab.shapes.get(link, Shape())
        found.append(
            {
                "name": link,
                "machines": [tap.machine for tap in ports],
                "mtu": min(devices[tap.device]["mtu"] for tap in ports),
                "up": all("UP" in devices[tap.device]["flags"] for tap in ports),
                "loss_percent": shape.loss,
                "delay_ms": shape.delay,
            }
        )
    return found


def _shape(lab: Lab, link: str, ports: list[Tap], wanted: Shape) -> Lab:
    """Put a process between the taps and the bridge, or take it away again."""
    name = f"shape-{link}"
    running = lab.process(name)
    if running is not None:
        process.stop([running])
    shaped = wanted != Shape()
    if shaped and link not in lab.shapes:
        for tap in ports:
            inner, outer = _pair(tap)
            _ip(lab, "link", "add", inner, "type", "veth", "peer", "name", outer)
            _ip(lab, "link", "set", tap.device, "nomaster")
            network.join_bridge(lab.netns, lab.topology, outer, link)
            _ip(lab, "link", "set", inner, "mtu", "9216", "up")
            _ip(lab, "link", "set", outer, "mtu", "9216")
    elif not shaped and link in lab.shapes:
        for tap in ports:
            _ip(lab, "link", "delete", _pair(tap)[0])
            network.join_bridge(lab.netns, lab.topology, tap.device, link)
    shapes = {**lab.shapes, link: wanted}
    if not shaped:
        del shapes[link]
        return state.save(replace(lab, shapes=shapes))
    pairs = [f"{tap.device}={_pair(tap)[0]}" for tap in ports]
    command = [
        sys.executable, "-m", "underlay.lab.shape", str(wanted.delay), str(wanted.loss), *pairs,
    ]  # fmt: skip
    log = lab.directory / "log" / f"{name}.log"
    child = process.start(name, command, log=log, netns=lab.netns)
    return state.with_process(replace(lab, shapes=shapes), child)


def _pair(tap: Tap) -> tuple[str, str]:
    """The two ends of the cable that lies between a shaped tap and the bridge."""
    return f"i{tap.device}", f"o{tap.device}"


def _set_machine(lab: Lab, machine: str, up: str) -> None:
    lab.machine(machine)
    for tap in network.taps(lab.topology):
        if tap.machine == machine:
            _ip(lab, "link", "set", tap.device, up)


def _taps(lab: Lab, link: str) -> list[Tap]:
    found = [tap for tap in network.taps(lab.topology) if tap.link == link]
    if not found:
        there = ", ".join(lab.topology.links)
        raise LabError(f"lab {lab.name}: no such link (got {link!r}); it has {there}")
    return found


def _ip(lab: Lab, *words: str) -> str:
    return run(["ip", "-n", lab.netns, *words])
