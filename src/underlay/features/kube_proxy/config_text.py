"""Change keys in the text of a KubeProxyConfiguration and leave every other byte as it is. Pure.

kubeadm writes block style YAML; other shapes are refused rather than reformatted.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from underlay.errors import ClusterError

#: Path of a key, for example ("ipvs", "scheduler"), to its value.
Values = Mapping[tuple[str, ...], object]


def read(text: str) -> dict[str, object]:
    """The configuration as a mapping; ClusterError when it is none."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ClusterError(f"kube-proxy config.conf: not YAML ({error}); correct it") from error
    if not isinstance(found, dict):
        raise ClusterError("kube-proxy config.conf: not a mapping; correct it")
    return found


def value_of(found: Mapping[str, object], path: tuple[str, ...]) -> object:
    """The value at a path, None when any part of it is missing."""
    here: object = found
    for part in path:
        if not isinstance(here, dict):
            return None
        here = here.get(part)
    return here


def with_values(text: str, values: Values) -> str:
    """The text with these values; ClusterError when its shape does not allow a safe change."""
    wanted = read(text)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for path, value in values.items():
        if value_of(wanted, path) != value:
            lines = _with_value(lines, path, value)
            _put(wanted, path, value)
    changed = "".join(lines)
    if not _reads_as(changed, wanted):
        raise ClusterError(
            "kube-proxy config.conf: its layout does not allow a safe change;"
            " write it in block style as kubeadm does"
        )
    return changed if text.endswith("\n") else changed.rstrip("\n")


def _reads_as(text: str, wanted: dict[str, object]) -> bool:
    try:
        return read(text) == wanted
    except ClusterError:
        return False


def _with_value(lines: list[str], path: tuple[str, ...], value: object) -> list[str]:
    start, end, indent = 0, len(lines), 0
    for depth, part in enumerate(path):
        at = _find(lines, start, end, indent, part)
        last = depth == len(path) - 1
        if at is None:
            new = _block(path[depth:], value, indent)
            place = end if depth else _before_end(lines, end)
            return [*lines[:place], *new, *lines[place:]]
        stop = _end_of(lines, at, end, indent)
        if last:
            return [*lines[:at], *_block((part,), value, indent), *lines[stop:]]
        if stop == at + 1:
            # `ipvs: null` or `ipvs: {}`: nothing inside to keep
            return [*lines[:at], *_block(path[depth:], value, indent), *lines[stop:]]
        start, end = at + 1, stop
        indent = _indent(next(line for line in lines[start:end] if line.strip()))
    return lines


def _find(lines: list[str], start: int, end: int, indent: int, key: str) -> int | None:
    prefix = f"{' ' * indent}{key}:"
    for number in range(start, end):
        if lines[number].rstrip("\n") == prefix or lines[number].startswith(prefix + " "):
            return number
    return None


def _end_of(lines: list[str], at: int, end: int, indent: int) -> int:
    """First line after the value of a key: less or equally indented, list items aside."""
    number = at + 1
    while number < end:
        line = lines[number]
        item = _indent(line) == indent and line.lstrip().startswith("- ")
        if line.strip() and _indent(line) <= indent and not item:
            break
        number += 1
    return number


def _before_end(lines: list[str], end: int) -> int:
    """A top-level key goes before empty lines at the end."""
    while end and not lines[end - 1].strip():
        end -= 1
    return end


def _block(path: tuple[str, ...], value: object, indent: int) -> list[str]:
    """The lines of one value below the keys of `path`, as kubeadm writes them."""
    nested: object = value
    for part in reversed(path):
        nested = {part: nested}
    text = yaml.safe_dump(nested, default_flow_style=False, sort_keys=False)
    return [f"{' ' * indent}{line}\n" for line in text.splitlines()]


def _put(found: dict[str, object], path: tuple[str, ...], value: object) -> None:
    here = found
    for part in path[:-1]:
        inner = here.get(part)
        if not isinstance(inner, dict):
            inner = {}
            here[part] = inner
        here = inner
    here[path[-1]] = value


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
