"""Shell text that brings the IPsec links of a host to what is wanted, and back. Pure.

The rule: the earlier files of a link are kept on the host until the link is proved; whoever gives
up (a guard, a failed proof) brings them back from there.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from underlay import journal
from underlay.facts.ipsec_host import BEFORE, CERTIFICATES, CHANGE, CONNECTIONS, FOLDER, SWANCTL
from underlay.operations import outcome
from underlay.operations.files import append_entry, beside, remove_file, room, write_files
from underlay.operations.ipsec_plan import HELPER, SHARED
from underlay.operations.ipsec_tunnel import Tunnel

FORWARD = "net.ipv4.ip_forward"
DAEMON = "strongswan"
#: Without recommended packages the daemon lacks key exchanges and ciphers: hence the plugins.
PACKAGES = (
    "strongswan-swanctl", "charon-systemd", "libstrongswan-standard-plugins",
    "libstrongswan-extra-plugins", "iptables", "iproute2",
)  # fmt: skip
_TIMER = "underlay-ipsec-refresh.timer"
#: Reads every file again; what did not change stays as it is, associations included.
_LOAD = "swanctl --load-all --noprompt >/dev/null"


def of_link(name: str) -> tuple[str, ...]:
    """Every file that a link may have on a host; those last by which a next run knows it."""
    return (
        f"{CONNECTIONS}/secret-underlay-{name}.conf",
        *(f"{SWANCTL}/{kind}/underlay-{name}.pem" for kind in CERTIFICATES),
        f"{FOLDER}/{name}.nft", f"{FOLDER}/{name}.env", f"{FOLDER}/{name}.rules",
        f"{CONNECTIONS}/underlay-{name}.conf",
    )  # fmt: skip


def keep(name: str) -> str:
    """Keep the files of a link as they are, unless earlier ones wait for a proof already."""
    kept = shlex.quote(f"{BEFORE}/{name}")
    files = " ".join(map(shlex.quote, of_link(name)))
    # `cp --parents` of coreutils 9.1 looks for folders of an absolute path from where it stands
    return (
        f"if [ ! -d {kept} ]; then\nmkdir -p -m 0700 {BEFORE}; rm -rf {kept}.new;"
        f' mkdir -m 0700 {kept}.new\nfor f in {files}; do if [ -e "$f" ]; then'
        f' mkdir -p "{kept}.new${{f%/*}}"; cp -a "$f" "{kept}.new$f"; fi; done\n'
        f"mv {kept}.new {kept}\nfi"
    )


def kept_away(name: str) -> str:
    """A link is proved: what was before is not needed any more."""
    kept = shlex.quote(f"{BEFORE}/{name}")
    return f"rm -rf {kept} {kept}.new; rmdir {BEFORE} 2>/dev/null || :"


def install() -> str:
    """Packages of the daemon, where the distribution has apt."""
    names = " ".join(PACKAGES)
    get = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120"
    return (
        f"{get} install --no-install-recommends {names} >/dev/null ||"
        f" {{ {get} update >/dev/null && {get} install --no-install-recommends {names} >/dev/null;"
        f" }} || {{ echo 'the packages {names} cannot be installed; install them by hand' >&2;"
        " exit 1; }"
    )


def starting(before: Mapping[str, str]) -> str:
    """Keep how the daemon's unit was in the journal, before anything touches it.

    A journal has room for one more line on a disk that has none for a link's files.
    """
    entry = journal.Entry(outcome.now(), outcome.RUN, "starting", {"previous": dict(before)})
    return f"{room('/etc')}\n{append_entry(CHANGE, entry)}"


def start_daemon(before: Mapping[str, str]) -> str:
    """Start the daemon now and at boot. before: how its unit was, for the way back."""
    return (
        f"{starting(before)}\nsystemctl enable --quiet {DAEMON}\n"
        f"systemctl start {DAEMON} || {{ journalctl -q -n 6 -o cat -u {DAEMON} >&2; exit 1; }}"
    )


def change(
    files: Mapping[str, tuple[str, str]],
    links: Sequence[Tunnel],
    renewed: Sequence[str],
    remove: Sequence[str],
    stale: Sequence[str],
    *,
    forwarding_was_off: bool,
) -> str:
    """Keep what was, remove, write, load once, then rules and routes of each link.

    renewed: links whose live associations came from other settings or secrets; stale: secret files
    that their links do not use any more.
    """
    names = [link.name for link in links]
    data: dict[str, object] = {"applied": names, "removed": list(remove)}
    if forwarding_was_off:
        data["previous"] = {FORWARD: "0"}
    entry = journal.Entry(outcome.now(), outcome.RUN, "applying", data)
    # the entry first: a removal goes by it
    lines = ["set -e", append_entry(CHANGE, entry)]
    lines.append(f"mkdir -p -m 0700 /etc/underlay {FOLDER}")
    lines += [keep(name) for name in (*names, *remove)]
    lines += write_files(files)
    if any(path in SHARED for path in files):
        lines.append("systemctl daemon-reload")
    lines += [_remove(name) for name in remove]
    lines += [remove_file(path) for path in stale]
    if remove or any(link.gateway for link in links):
        lines.append(f"! systemctl is-active --quiet {DAEMON} || {_LOAD}")
    lines += [terminate(name) for name in (*remove, *renewed)]
    lines += [f"{HELPER} up {name}" for name in names]
    if names:
        # the service has nothing to do now, but must count as done for systemd
        lines.append(f"systemctl enable --quiet underlay-ipsec.service {_TIMER}")
        lines.append(f"systemctl start {_TIMER}")
    return "\n".join(lines)


def terminate(name: str) -> str:
    """End the live associations of a link; there may be none."""
    return (
        f"! systemctl is-active --quiet {DAEMON} ||"
        f" swanctl --terminate --ike {name} --force --timeout 5 >/dev/null 2>&1 || :"
    )


def _remove(name: str) -> str:
    # what a write that was cut short left first: it may be a secret
    files = (*map(beside, of_link(name)), *of_link(name))
    return f"[ ! -x {HELPER} ] || {HELPER} down {name}\nrm -f {' '.join(files)}"


def unfinished(entries: Sequence[journal.Entry]) -> bool:
    """Whether something of ours was begun since the last removal."""
    return bool(entries) and entries[-1].event != "removed"


def remove_all(entries: Sequence[journal.Entry]) -> str:
    """After the last link of ours: shared files, forwarding and the daemon as they were."""
    lines = [
        f"systemctl disable --quiet --now {_TIMER} underlay-ipsec.service 2>/dev/null || :",
        *(remove_file(path) for path in SHARED),
        "systemctl daemon-reload",
        f"rm -rf {FOLDER} {BEFORE} /run/underlay-ipsec; rmdir /etc/underlay 2>/dev/null || :",
    ]
    was = before(entries)
    if was.get(FORWARD) == "0":
        # somebody else may need it by now
        others = "/etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf"
        named = rf"^[[:space:]]*{FORWARD.replace('.', '[./]')}[[:space:]]*=[[:space:]]*1"
        path = "/proc/sys/" + FORWARD.replace(".", "/")
        lines.append(f"grep -qsE {shlex.quote(named)} {others} || echo 0 > {path}")
    # connections of others keep the daemon
    alone = f'[ -z "$(swanctl --list-conns 2>/dev/null)" ] && [ -z "$(ls {CONNECTIONS})" ]'
    if was.get("daemon") == "inactive":
        lines.append(f"if {alone}; then systemctl stop {DAEMON}; fi")
    if was.get("enabled") == "no":
        lines.append(
            f'if [ -z "$(ls {CONNECTIONS})" ]; then systemctl disable --quiet {DAEMON}; fi'
        )
    lines.append(append_entry(CHANGE, journal.Entry(outcome.now(), outcome.RUN, "removed", {})))
    return "\n".join(lines)


def before(entries: Sequence[journal.Entry]) -> dict[str, str]:
    """What was before the first change since the last removal: forwarding, daemon, enabled."""
    found: dict[str, str] = {}
    for entry in entries:
        previous = entry.data.get("previous")
        if entry.event == "removed":
            found = {}
        elif isinstance(previous, dict):
            found = {**{str(key): str(value) for key, value in previous.items()}, **found}
    return found


def restore(names: Sequence[str]) -> str:
    """Bring the kept files of links back, each with its rules and associations.

    What was kept goes last: cut short before that, the next run still knows the link.
    """
    text = "".join(
        f"""if [ -d {BEFORE}/{name} ]; then
  [ ! -x {HELPER} ] || {HELPER} down {name}
  for f in {" ".join(of_link(name))}; do
    if [ -e "{BEFORE}/{name}$f" ]; then cp -a "{BEFORE}/{name}$f" "$f"; else rm -f "$f"; fi
  done
fi
"""
        for name in names
    )
    text += f"! systemctl is-active --quiet {DAEMON} || {_LOAD} || :\n"
    for name in names:
        text += f"{terminate(name)}\n"
        text += f"[ ! -e {FOLDER}/{name}.env ] || {HELPER} up {name}\n"
    return text + "\n".join(map(kept_away, names))
