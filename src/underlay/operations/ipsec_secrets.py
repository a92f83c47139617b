"""Secret files of links: compared and written on the host by standard input alone.

The rule: a secret is in no argument, no environment, no output and no hash that anybody could try
guesses against; the host answers which files differ, and a file has mode 0600 from its first byte.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyinfra.api.host import Host
from pyinfra.api.state import State

from underlay import direct
from underlay.facts.ipsec_host import CERTIFICATES, CONNECTIONS, SWANCTL
from underlay.operations import ipsec_script, outcome


@dataclass(frozen=True)
class SecretFile:
    """One file of one link; its text is in no repr."""

    link: str
    path: str
    text: str = field(repr=False)


def psk_path(link: str) -> str:
    """Where a preshared key lies."""
    return f"{CONNECTIONS}/secret-underlay-{link}.conf"


def psk_file(link: str, identities: tuple[str, str], key: str) -> SecretFile:
    """A preshared key as swanctl reads it; in hexadecimal, so that no character needs quoting."""
    one, other = identities
    text = (
        f"secrets {{\n  ike-{link} {{\n    id-1 = \"{one}\"\n    id-2 = \"{other}\"\n"
        f"    secret = 0x{key.encode().hex()}\n  }}\n}}\n"
    )  # fmt: skip
    return SecretFile(link, psk_path(link), text)


def certificate_files(link: str, own: str, key: str, authority: str) -> tuple[SecretFile, ...]:
    """A gateway's certificate and key, and the authority of the other one's; PEM texts."""
    return tuple(
        SecretFile(link, f"{SWANCTL}/{folder}/underlay-{link}.pem", text)
        for folder, text in zip(CERTIFICATES, (key, own, authority), strict=True)
    )


def differing(state: State, host: Host, files: Sequence[SecretFile]) -> list[SecretFile] | None:
    """Those that are missing, differ, or that others can read; None when the host did not say."""
    if not files:
        return []
    script = (
        "echo read; while read -r path data; do"
        ' [ "$(stat -c %a "$path" 2>/dev/null)" = 600 ] &&'
        ' printf %s "$data" | base64 -d | cmp -s - "$path" || echo "differs $path"; done; echo end'
    )
    ok, lines = _given(state, host, script, files)
    if not ok or "end" not in lines:
        return None
    return [found for found in files if f"differs {found.path}" in lines]


def put(state: State, host: Host, files: Sequence[SecretFile]) -> bool:
    """Write files, the earlier ones of their links kept until the links are proved."""
    links = list(dict.fromkeys(found.link for found in files))
    script = "\n".join(
        [
            "set -e",
            *(ipsec_script.keep(link) for link in links),
            "umask 077",
            'while read -r path data; do new="${path%/*}/.${path##*/}.new"',
            '{ printf %s "$data" | base64 -d > "$new" && [ -s "$new" ] && sync "$new" &&'
            ' mv -f "$new" "$path"; } || { rm -f "$new"; exit 1; }; done',
        ]
    )
    ok, _ = _given(state, host, script, files)
    if ok:
        names = ", ".join(links)
        host.log(f"{host.name}: {names}: new secret in {len(files)} files of mode 0600")
    else:
        folders = ", ".join(sorted({posixpath.dirname(found.path) for found in files}))
        remedy = "make room on its file system, or mount it writable"
        host.log(f"{host.name}: {folders}: cannot be written; {remedy}", outcome.ERROR)
    return ok


def _given(
    state: State, host: Host, script: str, files: Sequence[SecretFile]
) -> tuple[bool, list[str]]:
    """Run a script that gets `path base64` lines on its standard input."""
    lines = [f"{found.path} {base64.b64encode(found.text.encode()).decode()}" for found in files]
    ok, output = direct.run(host, script, lines)
    return ok, output.stdout_lines
