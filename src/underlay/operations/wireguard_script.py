"""Shell text that brings a host's WireGuard interfaces to what is wanted, and back. Pure."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence

from underlay import journal
from underlay.facts.wireguard_host import CHANGE, FOLDER
from underlay.operations import outcome
from underlay.operations.files import append_entry, place_file, remove_file, stage_files
from underlay.operations.wireguard_plan import HELPER, SHARED, Interface, safe

_FORWARD = "net.ipv4.ip_forward"
#: Stands for the time at which the host takes a change back by itself.
_TIME = "@time"


def make_keys(interfaces: Sequence[str]) -> str:
    """Make the private keys of these interfaces on the host; nobody can read them, ever."""
    lines = ["set -e", "umask 077", f"mkdir -p -m 0700 /etc/underlay {FOLDER}"]
    for name in interfaces:
        new, place = f"{FOLDER}/.{name}.key.new", f"{FOLDER}/{name}.key"
        lines.append(f"[ -s {place} ] || {{ wg genkey > {new}; sync {new}; mv -f {new} {place}; }}")
        lines.append(f"chmod 0600 {place}")
    return "\n".join(lines)


def change(
    files: Mapping[str, tuple[str, str]],
    sync: Sequence[Interface],
    remove: Sequence[str],
    *,
    forwarding_was_off: bool,
) -> str:
    """Files beside their places, then what is removed, so that nothing overlaps, then the rest."""
    lines = ["set -e", f"mkdir -p -m 0700 /etc/underlay {FOLDER}"]
    names = [interface.name for interface in sync]
    if names or remove:
        data: dict[str, object] = {"applied": names, "removed": list(remove)}
        if forwarding_was_off:
            data["previous"] = {_FORWARD: "0"}
        entry = journal.Entry(outcome.now(), outcome.RUN, "applying", data)
        lines.append(append_entry(CHANGE, entry))
    lines += stage_files(files)
    lines += [_remove(name) for name in remove]
    lines += [place_file(path) for path in files]
    if any(path in SHARED for path in files):
        lines.append("systemctl daemon-reload")
    lines += [_sync(interface) for interface in sync]
    return "\n".join(lines)


def remove_all(entries: Sequence[journal.Entry]) -> str:
    """After the last interface of ours: shared files, and forwarding as it was before us."""
    lines = [remove_file(path) for path in SHARED]
    lines += [
        "systemctl daemon-reload",
        f"rm -rf {FOLDER}; rmdir /etc/underlay 2>/dev/null || :",
    ]
    if forwarding_before(entries) == "0":
        # somebody else may need it by now
        others = "/etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf"
        named = rf"^[[:space:]]*{_FORWARD.replace('.', '[./]')}[[:space:]]*=[[:space:]]*1"
        path = "/proc/sys/" + _FORWARD.replace(".", "/")
        lines.append(f"grep -qsE {shlex.quote(named)} {others} || echo 0 > {path}")
    lines.append(append_entry(CHANGE, journal.Entry(outcome.now(), outcome.RUN, "removed", {})))
    return "\n".join(lines)


def forwarding_before(entries: Sequence[journal.Entry]) -> str:
    """What ip_forward was before the first change since the last removal, "" when it was on."""
    before = removed = ""
    for entry in entries:
        previous = entry.data.get("previous")
        if entry.event == "removed":
            before, removed = "", before
        elif entry.event == "reverted":
            # a removal that was taken back has not happened
            before = before or removed
        elif isinstance(previous, dict):
            before = before or str(previous.get(_FORWARD, ""))
    return before


def revert() -> tuple[str, str]:
    """What a guard saves of our interfaces, and how it brings them back.

    The files that all interfaces share are among it: the change may remove the last interface.
    """
    shared = " ".join(SHARED)
    save = f"""[ ! -d {FOLDER} ] || cp -a {FOLDER} saved
mkdir shared
for f in {shared}; do [ ! -e "$f" ] || cp -a "$f" shared; done"""
    unit = "underlay-wireguard@"
    refresh = "underlay-wireguard-refresh@"
    entry = append_entry(CHANGE, journal.Entry(_TIME, outcome.RUN, "reverted", {}))
    told = entry.replace(_TIME, "'\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"'")
    back = f"""for f in {FOLDER}/*.env; do
  [ -e "$f" ] || continue; n=${{f##*/}}; n=${{n%.env}}
  [ -e "saved/$n.env" ] || {{ systemctl disable --quiet --now "{refresh}$n.timer"
    systemctl disable --quiet --now "{unit}$n"; }}
done
rm -rf {FOLDER}
[ ! -d saved ] || {{ mkdir -p -m 0700 {posixpath.dirname(FOLDER)}; cp -a saved {FOLDER}; }}
for f in {shared}; do [ ! -e "shared/${{f##*/}}" ] || cp -a "shared/${{f##*/}}" "$f"; done
systemctl daemon-reload
for f in {FOLDER}/*.env; do
  [ -e "$f" ] || continue; n=${{f##*/}}; n=${{n%.env}}
  systemctl enable --quiet "{unit}$n"
  if systemctl is-active --quiet "{unit}$n"; then {HELPER} sync "$n" || systemctl restart "{unit}$n"
  else systemctl start "{unit}$n"; fi
  turn=disable; ! grep -q '^NAMED=1' "$f" || turn=enable
  systemctl $turn --quiet --now "{refresh}$n.timer"
done
( {told} )"""
    return save, back


def _remove(name: str) -> str:
    base = f"{FOLDER}/{name}"
    return (
        f"systemctl disable --quiet --now underlay-wireguard-refresh@{name}.timer || :\n"
        f"systemctl disable --quiet --now underlay-wireguard@{name} || :\n"
        # where the timer was linked to; systemd leaves the empty folder
        f"rmdir /etc/systemd/system/underlay-wireguard@{name}.service.wants 2>/dev/null || :\n"
        # a unit that had failed has not taken its interface down
        f"[ ! -x {HELPER} ] || {HELPER} down {name}\n"
        # with what a replacement of keys that was cut short left
        f"rm -rf {base}.env {base}.peers {base}.peers.new {base}.key {base}.key.next"
        f" {FOLDER}/psk/{name}"
    )


def _sync(interface: Interface) -> str:
    """A running interface keeps its sessions; one that is not there is started by its unit."""
    name = interface.name
    unit = f"underlay-wireguard@{name}"
    timer = f"underlay-wireguard-refresh@{name}.timer"
    turn = "enable --quiet --now" if interface.named else "disable --quiet --now"
    files = " ".join(safe(peer.node) for peer in interface.peers) if interface.preshared else ""
    return (
        # a key shared with somebody who is no peer any more
        f"for f in {FOLDER}/psk/{name}/*; do"
        f' case " {files} " in *" ${{f##*/}} "*) ;; *) rm -f "$f" ;; esac; done\n'
        f"systemctl enable --quiet {unit}\n"
        f"if systemctl is-active --quiet {unit}; then {HELPER} sync {name};"
        f" else systemctl start {unit} ||"
        f" {{ journalctl -q -n 6 -o cat -u {unit} >&2; exit 1; }}; fi\n"
        f"systemctl {turn} {timer}"
    )
