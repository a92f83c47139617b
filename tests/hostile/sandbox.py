"""A folder in which the shell of the product is really run, and nothing outside can be reached.

Every absolute path in a command becomes one below the folder, `/dev/tcp` too; every program is a
stand-in that writes down its arguments. What an injected command would do first of all, create the
file $CANARY, needs no program.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: What an injected command does.
DO = ":>$CANARY"

#: One line per argument; what comes after `--` is no option, whatever it begins with.
_LOGGED = 'd=; for a; do printf "%s%s\\n" "$d" "$a"; [ "$a" != -- ] || d="after -- "; done'

_PATH = re.compile(
    r"(?<![\w./}-])/(?=(etc|proc|sys|var|run|usr|lib|tmp|opt|root|home|bin|sbin|boot|srv|dev/tcp"
    r"|dev/udp)\b)"
)
#: What ends a script early. Nothing is really there, so it would end at its first step, and those
#: after it would show nothing; a loop that only this ends goes on until the time is over.
_END = re.compile(r"\bset -e\b|\bexit \d\b")
#: A builtin that would reach a real process of that number.
_KILL = re.compile(r"\bkill(?= )")
PROGRAMS = """
    awk basename cat chmod chown chroot conntrack cp curl cut date dirname env find flock getconf
    getent grep head hostname id install ip ip6tables ip6tables-save ipset iptables iptables-save
    ipvsadm journalctl kubectl ln ls mkdir mktemp modprobe mv nft no-kill nsenter pgrep pkill
    python3 readlink rm rmdir sed setfacl sha256sum sleep sort ss stat swanctl sync sysctl systemctl
    systemd-run tail tar tc tee tr uname uniq wc wg xargs
""".split()  # noqa: SIM905 - a list of a hundred lines says no more
#: Stand-ins that run what follows their options.
RUNNERS = {"timeout": 'shift; exec "$@"', "setsid": 'exec "$@"', "nice": 'exec "$@"'}


class Sandbox:
    """canary: exists after an injected command; log: one line per argument of every program."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.canary = folder / "canary"
        self.log = folder / "arguments"
        self._bin = folder / "bin"
        self._bin.mkdir(parents=True)
        self.root.mkdir()
        for name in PROGRAMS:
            self._program(name, f"{_LOGGED} >> {self.log}; exit 0")
        for name, text in RUNNERS.items():
            self._program(name, text)
        for name in ("sh", "bash"):
            found = shutil.which(name)
            assert found is not None
            (self._bin / name).symlink_to(found)
        self.done: set[str] = set()

    def _program(self, name: str, text: str) -> None:
        (self._bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self._bin / name).chmod(0o700)

    def run(self, command: str) -> None:
        """Run a command as a host's sshd would, unless it was run before."""
        if command in self.done:
            return
        self.done.add(command)
        for text in _scripts(command):
            checked = subprocess.run(
                ["sh", "-n", "-c", text], capture_output=True, text=True, timeout=30
            )
            assert checked.returncode == 0, f"{checked.stderr}\n{text}"
        inside = _KILL.sub("no-kill", _PATH.sub(f"{self.root}/", command))
        for text in dict.fromkeys((inside, _END.sub(":", inside))):
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [str(self._bin / "sh"), "-c", text],
                    cwd=self.root, env={"PATH": str(self._bin), "CANARY": str(self.canary)},
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False,
                )  # fmt: skip

    def arguments(self) -> set[str]:
        """Every argument that a program was given."""
        return set(self.log.read_text().splitlines()) if self.log.exists() else set()


def _scripts(command: str) -> Iterator[str]:
    """The command, and the script that it gives to a shell."""
    yield command
    words = shlex.split(command)
    if words[:2] == ["sh", "-c"]:
        yield words[2]
