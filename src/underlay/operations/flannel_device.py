"""flannel's device on a node: its MTU, its queue, its offloads, now and whenever it is made anew.

The rule: flanneld takes an existing device as it is, so a new MTU never reaches it by itself; what
the kernel refuses undoes the whole change.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from underlay.facts.cni import Cni, CniNode
from underlay.operations import outcome
from underlay.operations.files import beside, place_file, remove_file, stage_files
from underlay.render import render

RULE = "/etc/udev/rules.d/90-underlay-flannel.rules"


#: The same for the device of the second family.
RULE_V6 = "/etc/udev/rules.d/90-underlay-flannel-v6.rules"


@dataclass(frozen=True)
class Device:
    """What the device should be.

    mtu: bytes; tx_queue_length: packets; offload: feature -> on; rule: path of its udev rule.
    """

    name: str
    mtu: int
    tx_queue_length: int | None = None
    offload: Mapping[str, bool] = field(default_factory=dict)
    rule: str = RULE


def read(wanted: Device, plugins: str) -> CniNode | None:
    """The host of this context, with the offloads and the rule of a device."""
    found: CniNode | None = host.get_fact(
        Cni, plugins=plugins, device=wanted.name, rule=wanted.rule
    )
    return found


@operation()
def device(wanted: Device, plugins: str) -> Generator[PyinfraCommand, None, None]:
    """
    Keep flannel's device as planned.

    + wanted: name, MTU, queue and offloads
    + plugins: folder of the CNI plugins
    """
    found = read(wanted, plugins)
    if found is None:
        return
    problems = refusals(found, wanted)
    if problems:
        yield from outcome.fail(*(f"{host.name}: {text}" for text in problems))
        return
    text = script(found, wanted)
    if text:
        outcome.show_change(host, wanted.rule, found.rule, rule_text(found, wanted))
        yield StringCommand("sh", "-c", shlex.quote(text))
    elif wanted.name in found.devices:
        host.noop(f"{wanted.name} is as planned")
    else:
        host.noop(f"{wanted.name} is not there yet")


def refusals(found: CniNode, wanted: Device) -> list[str]:
    """Why the device cannot be tuned on this node."""
    if wanted.offload and "ethtool" not in found.tools:
        return ["flannel.offload: ethtool is not installed; install the package ethtool"]
    if wanted.name not in found.devices:
        return []
    return [
        f"flannel.offload.{name}: {wanted.name} has no such feature; see ethtool -k {wanted.name}"
        for name in wanted.offload
        if name not in found.offload
    ]


def rule_text(found: CniNode, wanted: Device) -> str:
    """Our udev rule, "" when there is nothing to tune."""
    if wanted.tx_queue_length is None and not wanted.offload:
        return ""
    return render(
        "flannel/90-underlay-flannel.rules.j2",
        device=wanted.name,
        tx_queue_length=wanted.tx_queue_length,
        offload=dict(wanted.offload),
        ethtool=found.tools.get("ethtool", ""),
    )


def differs(found: CniNode, wanted: Device) -> bool:
    """Whether anything is to be done on this node."""
    return bool(refusals(found, wanted)) or bool(script(found, wanted))


def script(found: CniNode, wanted: Device) -> str:
    """One shell text that makes the device as wanted, "" when it is."""
    text = rule_text(found, wanted)
    steps = _steps(found, wanted)
    if not steps and text == found.rule:
        return ""
    # met before the device is touched, when it cannot be written
    staged = stage_files({wanted.rule: (text, "0644")}) if text and text != found.rule else []
    back = [f"{undo} 2>/dev/null || :" for _, undo, _ in steps]
    if staged:
        back.append(f"rm -f {shlex.quote(beside(wanted.rule))}")
    lines = ["set -e", f"undo() {{ {'; '.join(back) or ':'}; }}", *staged]
    for do, _, refused in steps:
        lines.append(f"{do} || {{ undo; echo {shlex.quote(refused)} >&2; exit 1; }}")
    if text != found.rule:
        lines.append(place_file(wanted.rule) if text else remove_file(wanted.rule))
        if "udevadm" in found.tools:
            lines.append("udevadm control --reload")
    return "\n".join(lines)


def _steps(found: CniNode, wanted: Device) -> list[tuple[str, str, str]]:
    """What to do to the device, how to take it back, and what to say when it is refused."""
    there = found.devices.get(wanted.name)
    steps: list[tuple[str, str, str]] = []
    name = shlex.quote(wanted.name)
    if there is not None:
        if there.mtu != wanted.mtu:
            steps.append(_link(name, "mtu", there.mtu, wanted.mtu))
        queue = wanted.tx_queue_length
        if queue is not None and there.tx_queue_length != queue:
            steps.append(_link(name, "txqueuelen", there.tx_queue_length, queue))
        for feature, on in wanted.offload.items():
            if found.offload.get(feature, on) != on:
                steps.append(_ethtool(name, feature, on))
    return steps


def _link(name: str, key: str, old: int, new: int) -> tuple[str, str, str]:
    refused = f"{name}: the kernel refused {key} {new}; its underlay carries less than planned"
    return (
        f"ip link set dev {name} {key} {new}",
        f"ip link set dev {name} {key} {old}",
        refused,
    )


def _ethtool(name: str, feature: str, on: bool) -> tuple[str, str, str]:
    wanted, before = ("on", "off") if on else ("off", "on")
    quoted = shlex.quote(feature)
    refused = f"{name}: the driver refused {feature} {wanted}; take it out of flannel.offload"
    return (
        f"ethtool -K {name} {quoted} {wanted}",
        f"ethtool -K {name} {quoted} {before}",
        refused,
    )
