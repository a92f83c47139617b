"""Checks of programs on a node that undo or hinder what the CNI does."""

from __future__ import annotations

from collections.abc import Iterator

from underlay.checks.model import Check, Finding, Severity, Status
from underlay.features.preflight.changes import CNI
from underlay.features.preflight.scene import Scene
from underlay.features.preflight.words import listed

#: Devices of each CNI that NetworkManager must leave alone.
DEVICES = {"flannel": ("flannel", "cni0"), "calico": ("cali", "tunl", "vxlan.calico")}


def _networkd(scene: Scene) -> Iterator[Finding]:
    names = []
    for host, node in scene.read():
        if "systemd-network" not in node.programs:
            continue
        said = {
            line.partition("=")[0].strip().lower(): line.partition("=")[2].strip().lower()
            for line in node.networkd
        }
        wanted = ("manageforeignroutes", "manageforeignroutingpolicyrules")
        if any(said.get(key) not in ("no", "false", "0", "off") for key in wanted):
            names.append(host.name)
    if names:
        text = f"systemd-networkd on {listed(names)} removes routes and rules that others made"
        yield Finding(Status.WARN, text, tuple(names))


def _network_manager(scene: Scene) -> Iterator[Finding]:
    names = []
    wanted = DEVICES.get(scene.network.cni, ())
    for host, node in scene.read():
        if "NetworkManager" not in node.programs:
            continue
        lines = [line for line in node.network_manager if line.startswith("unmanaged-devices")]
        text = " ".join(lines)
        if not all(device in text for device in wanted):
            names.append(host.name)
    if names:
        text = f"NetworkManager on {listed(names)} takes over {listed(wanted)} devices"
        yield Finding(Status.FAIL, text, tuple(names))


def _cni_applies(scene: Scene) -> str:
    return "" if scene.network.cni != "none" else "no CNI is declared"


def _firewalls(scene: Scene) -> Iterator[Finding]:
    for program, running in (
        ("firewalld", lambda node: "firewalld" in node.programs),
        ("ufw", lambda node: node.ufw),
    ):
        names = [host.name for host, node in scene.read() if running(node)]
        if names:
            text = f"{program} is active on {listed(names)} and is left as it is"
            yield Finding(Status.WARN, text, tuple(names))


CHECKS = (
    Check(
        "host/networkd", "systemd-networkd leaves foreign routes alone", Severity.WARNING,
        "From version 248 on it deletes the CNI's routes and rules when it is reloaded.",
        "set ManageForeignRoutes=no and ManageForeignRoutingPolicyRules=no in"
        " /etc/systemd/networkd.conf.d/", _networkd, scopes=CNI,
    ),
    Check(
        "host/network-manager", "NetworkManager leaves the CNI's devices alone", Severity.ERROR,
        "It configures or takes down interfaces that the CNI made.",
        "add unmanaged-devices=interface-name:cali*;interface-name:tunl*;"
        "interface-name:vxlan.calico;interface-name:flannel*;interface-name:cni0 to"
        " /etc/NetworkManager/conf.d/",
        _network_manager, _cni_applies, scopes=CNI,
    ),
    Check(
        "host/firewall", "A host firewall that rewrites rules is known", Severity.WARNING,
        "firewalld and ufw reload their whole rule set and can remove or outrank the CNI's; Calico"
        " asks for firewalld to be off.",
        "decide: disable it, or keep it and allow the ports that reach/ports lists", _firewalls,
        scopes=CNI,
    ),
)  # fmt: skip
