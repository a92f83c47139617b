"""The computer's own apt sources, turned into those of another suite. Pure but for the reading.

The rule: a lab machine installs from where this computer installs; no mirror is named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from underlay.errors import LabError
from underlay.lab.commands import run

#: Suites that have neither an updates nor a security archive.
_ROLLING = frozenset({"sid", "unstable"})
_KINDS = ("", "-updates", "-security")
#: One-line options whose deb822 field has another name (sources.list(5)).
_OPTION_FIELDS = {"arch": "Architectures", "lang": "Languages", "target": "Targets"}


def own_sources(root: Path = Path("/etc/apt")) -> str:
    """All sources of this computer as deb822 text."""
    stanzas = [_without_comments(path.read_text()) for path in _files(root, ".sources")]
    for path in [root / "sources.list", *_files(root / "sources.list.d", ".list")]:
        if path.is_file():
            stanzas += _from_lines(path.read_text().splitlines())
    return "\n\n".join(stanza.strip() for stanza in stanzas if stanza.strip()) + "\n"


def own_options() -> list[str]:
    """What this computer's apt is told about its archives: proxies, and which dates it checks.

    A mirror that is frozen at some day has indexes that have run out; where this computer's own apt
    does not mind, a lab does not either.
    """
    return options_of(run(["apt-config", "dump"]))


def options_of(dump: str) -> list[str]:
    """The options of `apt-config dump` that decide whether an archive can be read; pure."""
    found = re.findall(r'^(Acquire::(?:Check-|https?::|Retries)[^ ]*) "([^"]+)";$', dump, re.M)
    return [f'{name} "{value}"' for name, value in found]


def own_suite(release: Path = Path("/etc/os-release")) -> str:
    """The codename this computer runs, for example `bookworm`."""
    found = re.search(r"^VERSION_CODENAME=(\S+)", release.read_text(), re.MULTILINE)
    if found is None:
        raise LabError("/etc/os-release names no VERSION_CODENAME; the lab needs a Debian host")
    return found.group(1)


def for_suite(sources: str, own: str, suite: str, *, types: str = "deb") -> str:
    """The stanzas of the distribution itself, for `suite`; LabError when there is none.

    Only stanzas that name the computer's own suite are kept: third-party archives have others.
    """
    kept = []
    for stanza in re.split(r"\n\s*\n", sources.strip()):
        # a value goes on in lines that start with a space, as an embedded Signed-By key does
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE))
        wanted = _suites(fields.get("Suites", "").split(), own, suite)
        if "deb" not in fields.get("Types", "").split() or not wanted:
            continue
        fields["Types"] = types
        fields["Suites"] = " ".join(wanted)
        kept.append("\n".join(f"{name}: {value}" for name, value in fields.items()))
    if not kept:
        raise LabError(f"the apt sources of this computer name no {own!r} archive")
    return "\n\n".join(kept) + "\n"


def _suites(found: Iterable[str], own: str, suite: str) -> list[str]:
    kinds = [kind for kind in _KINDS if f"{own}{kind}" in found]
    return [f"{suite}{kind}" for kind in kinds if not kind or suite not in _ROLLING]


def _files(root: Path, suffix: str) -> list[Path]:
    folder = root if root.name == "sources.list.d" else root / "sources.list.d"
    return sorted(folder.glob(f"*{suffix}"))


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _from_lines(lines: Iterable[str]) -> list[str]:
    """One-line entries as stanzas; options in brackets become fields."""
    stanzas = []
    for line in lines:
        found = re.match(r"^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.+?)\s*(?:#.*)?$", line.strip())
        if not found:
            continue
        options, uri, suite, components = found.groups()
        fields = [f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}"]
        for option in (options or "").split():
            name, _, value = option.partition("=")
            field = _OPTION_FIELDS.get(name, name.title())
            fields.append(f"{field}: {value.replace(',', ' ')}")
        stanzas.append("\n".join(fields))
    return stanzas
