"""Hosts of an IPsec link that run the product's shell texts for real, each in a folder of its own.

The rule: files are real, so a power cut leaves what it would leave on a machine. Only what a folder
cannot be is a stand-in: systemd, the daemon, and the helper, whose own work tests/netns shows.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyinfra.connectors.util import CommandOutput
from tests.fake.power import Powered, output, run_shell
from typing_extensions import override

from underlay.facts.ipsec import readings
from underlay.facts.ipsec_host import BEFORE, CONNECTIONS, FOLDER
from underlay.facts.script import MARK
from underlay.operations.ipsec_plan import HELPER, SHARED

#: Paths of a machine that are in the host's folder here.
_PLACES = re.compile(r"(?<![\w.}])/(?=etc/|usr/l|var/lib/underlay|proc/sys/net|run/)")
_HELPER = re.compile(rf"{HELPER} (?=up |down )")
#: Words of the shell for what is not there. `state` holds what a kernel and a daemon would know.
STAND_INS = r"""
sync() { :; }
journalctl() { :; }
helper() {
  env="$ROOT/etc/underlay/ipsec/$2.env"
  rm -f "$STATE/live/$2".*
  if [ "$1" = down ]; then rm -f "$env"; return 0; fi
  [ -e "$env" ] || return 1
  cp "$env" "$ROOT/etc/underlay/ipsec/$2.rules" "$STATE/live/"
  ! grep -q GATEWAY=1 "$env" || echo 1 > "$ROOT/proc/sys/net/ipv4/ip_forward"
}
systemctl() {
  words=" $* "
  case $words in *" --now "*) now=1 ;; *) now= ;; esac
  for unit in "$@"; do
    case $unit in -* | enable | disable | start | stop | is-active | daemon-reload) continue ;; esac
    unit=${unit%.service}
    case $words in
      *" is-active "*) [ -e "$STATE/active/$unit" ] || return 3 ;;
      *" enable "*) : > "$STATE/enabled/$unit" ;;
      *" disable "*) rm -f "$STATE/enabled/$unit"; [ -z "$now" ] || rm -f "$STATE/active/$unit" ;;
      *" start "*) : > "$STATE/active/$unit"; [ "$unit" != strongswan ] || loads ;;
      *" stop "*) rm -f "$STATE/active/$unit"
        [ "$unit" != strongswan ] || rm -f "$STATE"/conns/* "$STATE"/sas/* ;;
    esac
  done
}
loads() {
  rm -f "$STATE"/conns/*
  for file in "$ROOT"/etc/swanctl/conf.d/*.conf; do [ ! -e "$file" ] || cp "$file" "$STATE/conns/"; done
}
swanctl() {
  [ -e "$STATE/active/strongswan" ] || return 1
  case $1 in
    --load-all) loads ;;
    --list-conns) ls "$STATE"/conns/ ;;
    --terminate) rm -f "$STATE/sas/$3" "$FAR/sas/$3" ;;
  esac
}
"""  # noqa: E501 - one line of shell
_STATE = ("live", "enabled", "active", "conns", "sas")
_EMPTY = ("etc/swanctl/conf.d", "etc/systemd/system", "usr/local/sbin", "proc/sys/net/ipv4")
_ALGORITHMS = "AES_CBC HMAC_SHA2_256_128 PRF_HMAC_SHA2_256 MODP_2048"


@dataclass
class Box:
    """One host: its files under root, and beside them what its kernel and daemon would know."""

    name: str
    folder: Path

    def __post_init__(self) -> None:
        if self.folder.exists():
            return
        for path in _EMPTY:
            (self.root / path).mkdir(parents=True)
        (self.root / "proc/sys/net/ipv4/ip_forward").write_text("0\n")
        for kind in _STATE:
            (self.state / kind).mkdir(parents=True)

    @property
    def root(self) -> Path:
        """What the machine calls /."""
        return self.folder / "root"

    @property
    def state(self) -> Path:
        """What is in no file of a machine."""
        return self.folder / "state"

    def sas(self) -> dict[str, str]:
        """Live associations: link -> what the two had agreed on."""
        return {path.name: path.read_text() for path in (self.state / "sas").iterdir()}

    def agrees(self, link: str) -> str:
        """What an association made now would come from: the daemon's connection and secret."""
        kinds = ("underlay", "secret-underlay")
        paths = [self.state / "conns" / f"{kind}-{link}.conf" for kind in kinds]
        if not all(path.exists() for path in paths):
            return ""
        return hashlib.sha256("".join(p.read_text() for p in paths).encode()).hexdigest()

    def everything(self) -> dict[str, str]:
        """All that a removal must bring back; journals stay."""
        return {
            str(path.relative_to(self.folder)): path.read_text() if path.is_file() else ""
            for path in sorted(self.folder.rglob("*"))
            if "var" not in path.relative_to(self.folder).parts or "before" in str(path)
        }

    def run(self, text: str, stdin: list[str], power: int, far: Box | None) -> tuple[int, int, str]:
        """Run a shell text for as many commands as the power lasts: exit code, commands, output."""
        place = f"{self.root}/"
        text = _PLACES.sub(place, _HELPER.sub("helper ", text))
        words = (
            f"ROOT={self.root} STATE={self.state} FAR={far.state if far else '/nowhere'}\n"
            f"{STAND_INS}"
        )
        given = "\n".join(_PLACES.sub(place, line) for line in stdin)
        stdin_text = f"{given}\n" if given else ""
        code, used, said = run_shell(words, text, stdin_text, power, self.folder / "count")
        return code, used, said.replace(place, "/")

    # -- what the fact reads

    def readings(self) -> dict[str, list[str]]:
        """Lines of each reading as a machine would print them."""
        found: dict[str, list[str]] = {name: [] for name in readings(())}
        active = (self.state / "active/strongswan").exists()
        boot = "enabled" if (self.state / "enabled/strongswan").exists() else "disabled"
        connections = sorted((self.state / "conns").glob("underlay-*"))
        found |= {
            "tools": ["swanctl", "ip", "iptables", "iptables-restore", "flock", "systemctl"],
            "daemon": [
                "version strongSwan swanctl 5.9.8",
                f"strongswan {boot} {'active' if active else 'inactive'}",
            ],
            "included": ["include conf.d/*.conf"],
            "algorithms": [f"  {name}[openssl]" for name in _ALGORITHMS.split()] if active else [],
            "loaded": [
                f"list-conn event {{{path.stem.removeprefix('underlay-')} {{"
                for path in connections
            ],
            "associations": [
                f"list-sa event {{{link} {{state=ESTABLISHED child-sas {{{children}}}}}}}"
                for link in self.sas()
                for children in [" ".join(self._children(link))]
            ],
            "secrets": [
                f"{path.stat().st_mode & 0o777:o} {CONNECTIONS}/{path.name}"
                for path in (self.root / f".{CONNECTIONS}").glob("secret-underlay-*.conf")
            ],
            "units": [
                "enabled" if (self.state / "enabled/underlay-ipsec").exists() else "disabled",
                "active" if (self.state / "active/underlay-ipsec-refresh.timer").exists() else "",
            ],
            "forward": self._lines("/proc/sys/net/ipv4/ip_forward"),
            "kept": [path.name for path in (self.root / f".{BEFORE}").glob("*")],
            "journal": self._lines("/var/lib/underlay/ipsec/journal.jsonl"),
        }  # fmt: skip
        for path in SHARED:
            if text := "\n".join(self._lines(path)):
                found["hashes"].append(f"{_digest(text)}  {path}")
        for place, pattern in ((FOLDER, "*.*"), (CONNECTIONS, "underlay-*.conf")):
            for file in sorted((self.root / f".{place}").glob(pattern)):
                lines = self._lines(f"{place}/{file.name}")
                found["files"] += [f"{file.name}:{line}" for line in lines]
        for file in sorted((self.state / "live").glob("*.env")):
            for name, lines in self._live(file).items():
                found[name] += lines
        return found

    def _lines(self, path: str) -> list[str]:
        """Lines of a file; paths in it as a machine has them."""
        real = self.root / f".{path}"
        return real.read_text().replace(f"{self.root}/", "/").splitlines() if real.exists() else []

    def _children(self, link: str) -> Iterator[str]:
        """What a live child carries: that of the connection in the daemon."""
        path = self.state / "conns" / f"underlay-{link}.conf"
        text = path.read_text() if path.exists() else ""
        own, far = (re.findall(rf"{side}_ts = (.*)", text) for side in ("local", "remote"))
        for local, remote in zip(own, far, strict=True):
            sides = f"local-ts=[{_spaced(local)}] remote-ts=[{_spaced(remote)}]"
            yield f"net-1 {{name=net uniqueid=1 state=INSTALLED {sides}}}"

    def _live(self, path: Path) -> dict[str, list[str]]:
        """Rules and routes of one link that is up."""
        env = dict(word.split("=", 1) for word in shlex.split(path.read_text(), comments=True))
        rules, table = [], ""
        for line in path.with_suffix(".rules").read_text().splitlines():
            table = line[1:] if line.startswith("*") else table
            rules += [f"{table} {line}"] if line.startswith("-A") else []
        hooks = [hook.split(":") for hook in env["HOOKS"].split()]
        rules += [f"{table} -A {start} -j {own}" for table, start, own, _ in hooks]
        routes = [
            f"{to} via {env['VIA']} dev eth1 mtu {env['MTU']}" for to in env["ROUTES"].split()
        ]
        return {"rules": rules, "table": routes, "ruled": ["from all lookup 218"] if routes else []}


class Boxes(Powered):
    """All hosts of one link between two gateways; agreeing: whether these can establish it."""

    def __init__(self, folder: Path, names: tuple[str, ...], gateways: tuple[str, str]) -> None:
        super().__init__(folder)
        self.names, self.gateways, self.agreeing = names, gateways, True
        self.boxes = {name: Box(name, folder / name.replace("/", "-")) for name in names}

    @override
    def at(self, folder: Path) -> Boxes:
        return Boxes(folder, self.names, self.gateways)

    @override
    def everything(self) -> dict[str, str]:
        return {
            f"{name} {path}": text
            for name, box in self.boxes.items()
            for path, text in box.everything().items()
        }

    @override
    def respond(self, host: str, command: str, stdin: list[str]) -> tuple[bool, CommandOutput]:
        text, box = shlex.split(command)[-1], self.boxes[host]
        if f"{MARK}associations" in text:
            lines = [
                line for name, found in box.readings().items() for line in (MARK + name, *found)
            ]
            return True, output([*lines, f"{MARK}end"])
        if f"{HELPER} prove" in text:
            self.spend(1, "prove", host)
            link = shlex.split(text)[2]
            made = link in box.sas() or self.tick(link)
            line = next((x for x in box.readings()["associations"] if f"{{{link} " in x), "")
            return made, output([line] if made else ["failed net initiate"])
        if "cmp -s" in text:
            # changes nothing, so that a cut in it is one before what follows
            _, _, said = box.run(text, stdin, 10**9, None)
            return True, output(said.splitlines())
        far = next((self.boxes[name] for name in self.gateways if name != host), None)
        code, used, said = box.run(
            text, stdin, self.power - self.steps, far if host in self.gateways else None
        )
        self.spend(used, text, host, dead=code == -9)
        for name in {*(path.stem for path in (box.state / "live").glob("*.env"))}:
            self.tick(name)
        return code == 0, output(said.splitlines())

    def tick(self, link: str) -> bool:
        """What the timers and traffic do: establish what both daemons can agree on."""
        one, two = (self.boxes[name] for name in self.gateways)
        there = [self._secret(box, link) for box in (one, two)]
        if not self.agreeing or not all(there) or there[0] != there[1]:
            return False
        for box in (one, two):
            if link not in box.sas():
                (box.state / "sas" / link).write_text(box.agrees(link))
        return True

    @staticmethod
    def _secret(box: Box, link: str) -> str:
        path = box.state / "conns" / f"secret-underlay-{link}.conf"
        found = path.read_text() if path.exists() and box.agrees(link) else ""
        key = re.search(r"secret = (\S+)", found)
        return key.group(1) if key else ""


def _spaced(text: str) -> str:
    return text.replace(",", " ")


def _digest(text: str) -> str:
    return hashlib.sha256(f"{text}\n".encode()).hexdigest()
