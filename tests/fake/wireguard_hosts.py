"""Members of an overlay that run the product's shell texts for real, each in a folder of its own.

The rule: files are real, so a cut leaves what it would leave on a machine. Only what a folder
cannot be is a stand-in: systemd, wg, and the helper, whose own work tests/netns shows.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from pyinfra.connectors.util import CommandOutput
from tests.fake.power import Powered, output, run_shell
from typing_extensions import override

from underlay.facts.script import MARK, reading_script, split_readings
from underlay.facts.wireguard import readings
from underlay.facts.wireguard_host import FOLDER, PROTOCOL
from underlay.operations.wireguard_plan import HELPER, SHARED

#: Paths of a machine that are in the member's folder here.
_PLACES = re.compile(r"(?<![\w.}])/(?=etc/|usr/l|var/lib/underlay|proc/sys/net|run/)")
#: A call of the helper, but not one in a unit's file.
_HELPER = re.compile(rf"(?<!=){HELPER} (?=up |down |sync )")
#: The unit that fires a guard.
TIMER = "underlay-guard-wireguard.timer"
#: Words of the shell for what is not there. `live` holds what a kernel would know.
STAND_INS = r"""
sync() { :; }
journalctl() { :; }
systemd_run() { : > "$STATE/active/underlay-guard-wireguard.timer"; }
wg() {
  case $1 in
    genkey) head -c 32 /dev/urandom | base64 ;;
    pubkey) read -r key; key=$(printf %s "$key" | sha256sum); printf '%.43s=\n' "$key" ;;
  esac
}
helper() {
  etc="$ROOT/etc/underlay/wireguard" live="$STATE/live/$2"
  if [ "$1" = down ]; then rm -rf "$live"; return 0; fi
  [ -s "$etc/$2.key" ] && [ "$(tail -n 1 "$etc/$2.peers")" = '# end' ] || return 1
  if grep -q PRESHARED=1 "$etc/$2.env"; then
    for node in $(sed -n 's/^# node //p' "$etc/$2.peers"); do
      [ -s "$etc/psk/$2/$node" ] || return 1
    done
  fi
  rm -rf "$live"; mkdir -p "$live/psk"
  cp "$etc/$2.env" "$etc/$2.peers" "$etc/$2.key" "$live/"
  ! grep -q PRESHARED=1 "$etc/$2.env" || cp -r "$etc/psk/$2" "$live/psk/"
  ! grep -q FORWARDS=1 "$etc/$2.env" || echo 1 > "$ROOT/proc/sys/net/ipv4/ip_forward"
}
begin() {
  case $1 in underlay-wireguard@*)
    [ -e "$STATE/active/$1" ] || helper up "${1#*@}" || return 1 ;;
  esac
  : > "$STATE/active/$1"
}
finish() {
  case $1 in underlay-wireguard@*)
    [ ! -e "$STATE/active/$1" ] || helper down "${1#*@}" ;;
  esac
  rm -f "$STATE/active/$1"
}
systemctl() {
  words=" $* " code=0
  for unit in "$@"; do
    case $unit in
      -* | enable | disable | start | stop | restart | is-active | is-enabled) continue ;;
      daemon-reload) continue ;;
    esac
    unit=${unit%.service}
    case $words in
      *" is-enabled "*) [ -e "$STATE/enabled/$unit" ] && echo enabled || echo disabled ;;
      *" is-active "*)
        if [ -e "$STATE/active/$unit" ]; then now=active; else now=inactive code=3; fi
        case $words in *" --quiet "*) ;; *) echo $now ;; esac ;;
      *" enable "*) : > "$STATE/enabled/$unit"
        case $words in *" --now "*) begin "$unit" || code=1 ;; esac ;;
      *" disable "*) rm -f "$STATE/enabled/$unit"
        case $words in *" --now "*) finish "$unit" ;; esac ;;
      *" start "* | *" restart "*) begin "$unit" || code=1 ;;
      *" stop "*) finish "$unit" ;;
    esac
  done
  return $code
}
"""
_BOOT = r"""
rm -rf "$STATE"/live/* "$STATE"/active/*; echo 0 > "$ROOT/proc/sys/net/ipv4/ip_forward"
for unit in "$STATE"/enabled/*; do
  [ -e "$unit" ] || continue; unit=${unit##*/}; name=${unit#*@}; name=${name%.timer}
  # the condition of the unit
  [ ! -e "$ROOT/etc/underlay/wireguard/$name.env" ] || begin "$unit" || :
done
"""
_EMPTY = ("etc/systemd/system", "usr/local/sbin", "proc/sys/net/ipv4", "run/systemd/system")
#: Readings that the shell answers for real.
_REAL = ("keys", "psk", "files", "units", "journal", "guard")


class Member:
    """One host: its files under root, and beside them what its kernel and systemd would know."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.root, self.state = folder / "root", folder / "state"
        if folder.exists():
            return
        for path in _EMPTY:
            (self.root / path).mkdir(parents=True)
        self.forward.write_text("0\n")
        for kind in ("live", "enabled", "active"):
            (self.state / kind).mkdir(parents=True)

    @property
    def forward(self) -> Path:
        """Its net.ipv4.ip_forward."""
        return self.root / "proc/sys/net/ipv4/ip_forward"

    def everything(self) -> dict[str, str]:
        """All that a removal must bring back; journals stay, and nothing of a guard does."""
        return {
            str(path.relative_to(self.folder)): path.read_text() if path.is_file() else ""
            for path in sorted(self.folder.rglob("*"))
            if "var" not in path.relative_to(self.folder).parts
            or "guard/wireguard" in str(path.relative_to(self.folder))
        }

    def run(self, text: str, stdin: str = "", power: int = 10**9) -> tuple[int, int, str]:
        """Run a shell text for as many commands as the power lasts: exit code, commands, output."""
        place = f"{self.root}/"
        # no name of a function in a shell that keeps to POSIX
        text = text.replace("systemd-run ", "systemd_run ")
        text = _PLACES.sub(place, _HELPER.sub("helper ", text))
        words = f"ROOT={self.root} STATE={self.state}\n{STAND_INS}"
        code, used, said = run_shell(words, text, stdin, power, self.folder / "count")
        return code, used, said.replace(place, "/")

    def boot(self) -> None:
        """Everything that is in no file is gone, and what is enabled comes up."""
        assert self.run(_BOOT)[0] == 0

    def fire(self) -> None:
        """The time of a guard that is armed is over."""
        timer = self.state / "active" / TIMER
        if timer.exists():
            timer.unlink()
            script = self.root / "var/lib/underlay/guard/wireguard/revert.sh"
            assert self.run(script.read_text().replace(f"{self.root}/", "/"))[0] == 0

    # -- what the fact reads

    def readings(self) -> dict[str, list[str]]:
        """Lines of each reading as a machine would print them."""
        texts = {name: text for name, text in readings(()).items() if name in _REAL}
        found: dict[str, list[str]] = {name: [] for name in readings(())}
        found |= split_readings(self.run(reading_script(texts))[2].splitlines())
        found |= {
            "kernel": ["loaded"], "tools": ["wg", "ip", "flock", "systemctl"],
            "ssh": ["10.200.0.9 40022 192.0.2.7 22", "10.200.0.9 dev eth0 src 192.0.2.7"],
            "sysctl": [f"/proc/sys/net/ipv4/ip_forward:{self.forward.read_text().strip()}"],
        }  # fmt: skip
        for path in SHARED:
            file = Path(f"{self.root}{path}")
            if file.exists():
                text = file.read_text().replace(f"{self.root}/", "/")
                found["hashes"].append(f"{hashlib.sha256(text.encode()).hexdigest()}  {path}")
        for live in sorted((self.state / "live").iterdir()):
            for name, line in self._live(live):
                found[name].append(line)
        return found

    def _live(self, live: Path) -> Iterator[tuple[str, str]]:
        """One interface that is up."""
        dev = live.name
        text = (live / f"{dev}.env").read_text()
        env = dict(word.split("=", 1) for word in shlex.split(text, comments=True))
        yield "links", f"5: {dev}: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu {env['MTU']} state UNKNOWN"
        yield "addresses", f"5: {dev}    inet {env['ADDRESS']} scope global {dev}"
        yield "sysctl", f"/proc/sys/net/ipv4/conf/{dev}/rp_filter:2"
        for to in env["ROUTES"].split():
            yield "routes", f"{to} dev {dev} proto {PROTOCOL} scope link"
        yield "live", f"link {dev} {public((live / f'{dev}.key').read_text())} {env['PORT']}"
        for part in (live / f"{dev}.peers").read_text().split("[Peer]\n")[1:]:
            node = part.splitlines()[0].removeprefix("# node ")
            peer = dict(line.split(" = ") for line in part.splitlines() if " = " in line)
            shared = live / "psk" / dev / node
            key = hashlib.sha256(shared.read_text().strip().encode()) if shared.exists() else None
            yield (
                "live",
                (
                    f"peer {dev} {peer['PublicKey']} psk={key.hexdigest() if key else ''}"
                    f" {peer.get('Endpoint', '(none)')} {peer['AllowedIPs'].replace(', ', ',')} 0"
                    f" {peer.get('PersistentKeepalive', 'off')}"
                ),
            )


class Members(Powered):
    """All hosts of one overlay."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        super().__init__(folder)
        self.names = names
        self.members = {name: Member(name, folder / name.replace("/", "-")) for name in names}

    @override
    def at(self, folder: Path) -> Members:
        return Members(folder, self.names)

    @override
    def everything(self) -> dict[str, str]:
        return {
            f"{name} {path}": text
            for name, member in self.members.items()
            for path, text in member.everything().items()
        }

    @override
    def respond(self, host: str, command: str, stdin: list[str]) -> tuple[bool, CommandOutput]:
        text, member = shlex.split(command)[-1], self.members[host]
        if f"{MARK}kernel" in text:
            found = member.readings()
            lines = [line for name, lines in found.items() for line in (MARK + name, *lines)]
            return True, output([*lines, f"{MARK}end"])
        if "command -v ping" in text:
            # nobody is silent
            return True, output([f"{MARK}out", f"{MARK}end"])
        if f"{MARK}keys" in text or f"{MARK}psk" in text:
            return True, output(member.run(text)[2].splitlines())
        code, used, said = member.run(text, "\n".join(stdin), self.power - self.steps)
        self.spend(used, text, host, dead=code == -9)
        return code == 0, output(said.splitlines())


def public(key: str) -> str:
    """What the stand-in for wg makes of a private key."""
    return f"{hashlib.sha256(key.strip().encode()).hexdigest()[:43]}="


def folder_of(member: Member) -> Path:
    """Our files on it."""
    return Path(f"{member.root}{FOLDER}")
