"""Facts that read everything they need in one command on the host.

The rule: one fact is one round trip. A reading that finds nothing prints nothing and exits 0;
output that makes no sense fails that host alone (`FactProcessError`), never the run.
"""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from typing_extensions import override

T = TypeVar("T")

#: Starts a line that names the reading whose output follows.
MARK = "@@underlay "


def reading_script(readings: Mapping[str, str]) -> str:
    """One shell text that runs each reading in a subshell of its own, marked by its name.

    readings: name -> shell text. Exit codes and standard error of a reading are dropped: absence is
    an empty reading, and a reading that must tell them apart prints what it found.
    """
    parts = [
        f"printf '\\n%s\\n' {shlex.quote(MARK + name)}; ( {text}\n) 2>/dev/null </dev/null"
        for name, text in readings.items()
    ]
    return "\n".join([*parts, f"printf '\\n%s\\n' {shlex.quote(MARK + 'end')}"])


def split_readings(output: Sequence[str]) -> dict[str, list[str]]:
    """Name -> lines; ValueError when the script did not run to its end."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in output:
        if line.startswith(MARK):
            # the line feed before a mark ends an unfinished line, or is an empty one too many
            if name and found[name] and not found[name][-1]:
                found[name].pop()
            name = line[len(MARK) :]
            found[name] = []
        elif name:
            found[name].append(line)
    if "end" not in found:
        raise ValueError("the reading broke off before its end")
    del found["end"]
    return found


class ScriptFact(FactBase[T]):
    """A fact made of several readings taken in one command."""

    abstract = True

    @abstractmethod
    def parse(self, readings: Mapping[str, list[str]]) -> T:
        """Typed value from the lines of each reading; ValueError on nonsense."""

    @staticmethod
    def run(readings: Mapping[str, str]) -> StringCommand:
        """The command for these readings."""
        return StringCommand("sh", "-c", shlex.quote(reading_script(readings)))

    @override
    def process(self, output: list[str]) -> T:
        try:
            return self.parse(split_readings(output))
        except KeyError as error:
            raise FactProcessError(f"{self.name}: no reading {error} in the output") from error
        except (ValueError, IndexError) as error:
            raise FactProcessError(f"{self.name}: {error}") from error
