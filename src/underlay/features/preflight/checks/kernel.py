"""Checks of the kernel: modules, settings now and at boot, version floors, conntrack use."""

from __future__ import annotations

import re
from collections.abc import Iterator

from underlay.checks.model import Check, Finding, Severity, Status
from underlay.facts.kernel import ModuleState, normal
from underlay.features.preflight.changes import CNI, FLOORS, KERNEL, KUBE_PROXY, TUNNELS, ends
from underlay.features.preflight.scene import Scene
from underlay.features.preflight.words import listed
from underlay.floor import reached

#: Package of a distribution that carries modules its kernel image leaves out.
PACKAGES = {
    "debian": "linux-image-amd64 (the cloud kernels leave modules out)",
    "ubuntu": "linux-modules-extra-$(uname -r)",
    "rhel": "kernel-modules-extra",
    "rocky": "kernel-modules-extra",
    "almalinux": "kernel-modules-extra",
    "fedora": "kernel-modules-extra",
}
MINIMUM = ">="


def _modules(scene: Scene) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str, Status], list[str]] = {}
    for host, node in scene.read():
        for module in host.modules:
            state = node.modules.get(normal(module))
            if normal(module) in node.blacklisted and state is ModuleState.LOADABLE:
                key = (module, "is blacklisted", "", Status.WARN)
            elif state is ModuleState.BLOCKED:
                key = (module, "is blocked by an `install` line in modprobe.d", "", Status.FAIL)
            elif state is ModuleState.MISSING:
                package = PACKAGES.get(node.distribution, "the kernel's extra modules")
                key = (module, f"is missing in kernel {node.release}", package, Status.FAIL)
            elif state is None:
                key = (module, "could not be looked up", "", Status.UNKNOWN)
            else:
                continue
            groups.setdefault(key, []).append(host.name)
    for (module, what, package, status), names in groups.items():
        remedy = f"install {package}, then reboot into that kernel" if package else ""
        yield Finding(status, f"{module} {what} on {listed(names)}", tuple(names), remedy)


def _modules_apply(scene: Scene) -> str:
    return "" if any(host.modules for host in scene) else "no module is needed"


def satisfied(key: str, live: str, wanted: str) -> bool:
    """Whether a live value is the declared one, or at least it where a minimum is declared."""
    if not wanted.startswith(MINIMUM):
        return live == wanted
    return reached(key, live, wanted.removeprefix(MINIMUM))


def _live(scene: Scene) -> Iterator[Finding]:
    groups: dict[str, list[str]] = {}
    for host, node in scene.read():
        for key, wanted in host.sysctls.items():
            live = node.sysctls.get(key)
            if live is None:
                groups.setdefault(f"{key} does not exist, declared is {wanted}", []).append(
                    host.name
                )
            elif wanted != "auto" and not satisfied(key, live, wanted):
                groups.setdefault(f"{key} is {live}, declared is {wanted}", []).append(host.name)
    for text, names in groups.items():
        yield Finding(Status.FAIL, f"{text} on {listed(names)}", tuple(names))


def _boot(scene: Scene) -> Iterator[Finding]:
    groups: dict[str, list[str]] = {}
    for host, node in scene.read():
        for key, wanted in host.sysctls.items():
            line = node.boot_value(key)
            if wanted == "auto" or key not in node.sysctls:
                continue
            if line is None:
                groups.setdefault(f"{key} is set by no file", []).append(host.name)
            elif line.value is None:
                text = f"{line.path} takes {key} out, declared is {wanted}"
                groups.setdefault(text, []).append(host.name)
            elif not satisfied(key, line.value, wanted):
                text = f"{line.path} sets {key} to {line.value}, declared is {wanted}"
                groups.setdefault(text, []).append(host.name)
    for text, names in groups.items():
        yield Finding(Status.FAIL, f"at boot {text} on {listed(names)}", tuple(names))


def _sysctls_apply(scene: Scene) -> str:
    return "" if any(host.sysctls for host in scene) else "no kernel setting is declared"


def version(release: str) -> tuple[int, int] | None:
    """`6.1.0-40-cloud-amd64` to (6, 1); None for what is no release."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found.group(1)), int(found.group(2))) if found else None


def _floor(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        for need in _needs(scene):
            floor, what = FLOORS[need]
            found = version(node.release)
            if found is None:
                text = f"{host.name}: the kernel's release cannot be read (got {node.release!r})"
                yield Finding(Status.UNKNOWN, text, (host.name,))
            elif found < floor:
                text = f"{host.name}: kernel {node.release}, {what} needs {floor[0]}.{floor[1]}"
                yield Finding(Status.FAIL, text, (host.name,))


def _needs(scene: Scene) -> list[str]:
    wireguard = scene.network.encapsulation == "wireguard" or any(
        {"hubs", "spokes"} & set(host.groups) for host in scene
    )
    wanted = {ends(scene.change), scene.network.cni, "wireguard" if wireguard else ""}
    return [name for name in FLOORS if name in wanted]


def _floor_applies(scene: Scene) -> str:
    return "" if _needs(scene) else "nothing here needs a newer kernel"


def _conntrack(scene: Scene) -> Iterator[Finding]:
    for host, node in scene.read():
        if node.conntrack is None:
            continue
        used, size = node.conntrack
        percent = used * 100 // max(size, 1)
        if percent >= host.preflight.conntrack_percent:
            text = f"{host.name}: {used} of {size} connections tracked ({percent} %)"
            status = Status.FAIL if percent >= 95 else Status.WARN
            yield Finding(status, text, (host.name,))


def _conntrack_applies(scene: Scene) -> str:
    there = any(node.conntrack for _, node in scene.read())
    return "" if there else "connection tracking is on no node yet"


CHECKS = (
    Check(
        "kernel/modules", "Kernel modules are there", Severity.STRICT,
        "Without its module a feature fails when it starts, in the middle of the change.",
        "take the blacklist or install line out of /etc/modprobe.d, or load another kernel",
        _modules, _modules_apply,
    ),
    Check(
        "kernel/sysctls", "Kernel settings have their declared values now", Severity.ERROR,
        "Forwarding, bridge filtering and table sizes decide whether pods' packets pass.",
        "pyinfra INVENTORY deploys/kernel_modules.py deploys/sysctl.py; `underlay sysctl-report`"
        " names who else writes the key", _live, _sysctls_apply, scopes=KERNEL | KUBE_PROXY | CNI,
    ),
    Check(
        "kernel/sysctls-boot", "Kernel settings will have these values after a reboot",
        Severity.ERROR,
        "A hardening role, ufw or a later file takes the value back at the next boot.",
        "remove the line from the named file, or apply deploys/sysctl.py and name nothing after"
        " 90-underlay.conf", _boot, _sysctls_apply, scopes=KERNEL | KUBE_PROXY | CNI,
    ),
    Check(
        "kernel/floor", "The kernel is new enough", Severity.STRICT,
        "Below its floor a feature is absent or has a known fault.",
        "install a newer kernel and reboot the node first", _floor, _floor_applies,
        scopes=KUBE_PROXY | CNI | TUNNELS,
    ),
    Check(
        "kernel/conntrack", "The connection table has room", Severity.ERROR,
        "A full table drops new connections at random, and a change of kube-proxy adds entries.",
        "raise net.netfilter.nf_conntrack_max (profile kubernetes-node of deploys/sysctl.py)",
        _conntrack, _conntrack_applies, scopes=KERNEL | KUBE_PROXY | CNI,
    ),
)  # fmt: skip
