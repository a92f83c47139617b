"""What a backup takes of one node, and how it differs from the node now. Pure.

Files as they are, and what commands print of rules that live in the kernel only.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import posixpath
from collections.abc import Iterator, Mapping, Sequence

#: Folders and files of CNIs, by shell pattern.
FILES = ("/etc/cni/net.d/*", "/run/flannel/subnet.env", "/etc/kube-flannel/*", "/etc/calico/*")

#: Name of a dump -> shell text that prints it, nothing where the node does not have it.
DUMPS = {
    "iptables-save": "iptables-save",
    "ip6tables-save": "ip6tables-save",
    "nft-ruleset": "nft list ruleset",
    "ipset-save": "ipset save",
    "cni-bin": "cd /opt/cni/bin && sha256sum *",
    "kubelet-config.yaml": "cat /var/lib/kubelet/config.yaml",
}
MARK = "@@file "
END = "@@end"
#: Dumps that count packets or carry a date: what changes by itself is not compared.
VOLATILE = ("iptables-save", "ip6tables-save", "nft-ruleset", "ipset-save")


def command() -> str:
    """The one command that prints everything of a node, each part in base64."""
    files = " ".join(FILES)
    parts = [
        f'for f in {files}; do [ -f "$f" ] && printf \'\\n{MARK}files%s\\n\' "$f"'
        ' && base64 < "$f"; done'
    ]
    parts += [
        f"printf '\\n{MARK}dumps/{name}\\n'; ( {text} ) 2>/dev/null </dev/null | base64"
        for name, text in DUMPS.items()
    ]
    return "; ".join([*parts, f"printf '\\n{END}\\n'"])


def parse(lines: Sequence[str]) -> dict[str, bytes]:
    """Path in the backup -> content, without empty dumps; ValueError when it broke off."""
    if END not in lines:
        raise ValueError("the node's answer broke off before its end")
    texts: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if line.startswith(MARK):
            name = posixpath.normpath(line[len(MARK) :])
            if name.startswith(("..", "/")):
                raise ValueError(f"a path leads out of the backup (got {name!r})")
            texts[name] = []
        elif name and line != END:
            texts[name].append(line)
    try:
        found = {name: base64.b64decode("".join(text)) for name, text in texts.items()}
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    return {name: data for name, data in found.items() if data or name.startswith("files/")}


def runs_kubelet(parts: Mapping[str, bytes]) -> bool:
    """Whether a node belongs to a cluster."""
    return "dumps/kubelet-config.yaml" in parts


def object_differences(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> Iterator[str]:
    """One line per object of the cluster that a restore would apply or delete."""
    for name in sorted({*before, *now}):
        what = name.removesuffix(".yaml")
        if name not in now:
            yield f"apply   {what}: it is gone"
        elif name not in before:
            yield f"delete  {what}: it was not there"
        elif before[name] != now[name]:
            yield f"apply   {what}: {_changed(now[name], before[name])} lines differ"


def _changed(old: bytes, new: bytes) -> int:
    before, after = (one.decode(errors="replace").splitlines() for one in (old, new))
    return sum(
        line[:1] in "+-" and line[:3] not in ("+++", "---")
        for line in difflib.unified_diff(before, after, lineterm="")
    )


def differences(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> Iterator[str]:
    """One line per part that a restore would write, remove or leave to a person."""
    for name in sorted({*before, *now}):
        where = name.removeprefix("files")
        if name.startswith("dumps/"):
            kind = name.removeprefix("dumps/")
            same = before.get(name) == now.get(name)
            if not same and kind not in VOLATILE:
                yield f"compare {kind}: it is different now"
        elif name not in now:
            yield f"write   {where}: it is gone"
        elif name not in before:
            yield f"remove  {where}: it was not there"
        elif before[name] != now[name]:
            yield f"write   {where}: {_changed(now[name], before[name])} lines differ"
