"""An inventory in YAML: `globals().update(groups("inventory.yaml"))` in an inventory file.

The rule: the file holds data and runs nothing, and everything that is wrong with it is told in one
list with what is wrong with the settings, each with its line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from underlay.settings.placed import Placed
from underlay.settings.problem import Problem, shown

#: What stands at the top of the file, and in a group.
TOP, GROUP = ("data", "groups"), ("data", "hosts")
#: pyinfra takes groups from the names of variables.
_GROUP_NAME = re.compile(r"(?!all$)[A-Za-z][A-Za-z0-9_]*")

Hosts = list[tuple[str, dict[str, Any]]]


def groups(path: str | Path) -> dict[str, tuple[Hosts, Placed]]:
    """Group name -> its hosts and its data, and `all` with every host in the order of the file."""
    reader = _Reader(Path(path))
    found = reader.groups()
    data = reader.section(reader.top.get("data"), "data")
    names = dict.fromkeys(name for hosts, _ in found.values() for name, _ in hosts)
    everything = Placed(data, data.places, reader.problems)
    return {**found, "all": ([(name, {}) for name in names], everything)}


class _Reader:
    """One file; `problems` grows while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.top = self._mapping(self._parsed(), "", TOP)

    def groups(self) -> dict[str, tuple[Hosts, Placed]]:
        found: dict[str, tuple[Hosts, Placed]] = {}
        for name, node in self._mapping(self.top.get("groups"), "groups").items():
            where = f"groups.{name}"
            if not _GROUP_NAME.fullmatch(name):
                do = "use letters, digits and _; settings of every host go to `data` at the top"
                self._problem(node, where, "not the name of a group", shown(name), do)
                continue
            inside = self._mapping(node, where, GROUP)
            hosts = self._mapping(inside.get("hosts"), f"{where}.hosts")
            listed: Hosts = [
                (host, {**self.section(own, f"{where}.hosts.{host}")})
                for host, own in hosts.items()
            ]
            found[name] = (listed, self.section(inside.get("data"), f"{where}.data"))
        return found

    def section(self, node: yaml.Node | None, where: str) -> Placed:
        """Top-level keys of settings, with the line of each."""
        inside = self._mapping(node, where)
        data = {key: self._value(value) for key, value in inside.items()}
        return Placed(data, {key: self._line(value) for key, value in inside.items()})

    def _parsed(self) -> yaml.Node | None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except OSError as error:
            self._problem(None, "", error.strerror or "not readable", None, "give its path")
            return None
        except UnicodeDecodeError:
            self._problem(None, "", "not UTF-8 text", None, "save it as UTF-8")
            return None
        try:
            found = yaml.compose(text, Loader=yaml.SafeLoader)
            # a tag such as !!python/object has no value in a file that only holds data
            yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            what = getattr(error, "problem", None) or "not YAML"
            line = f"line {mark.line + 1}" if mark else ""
            self._problem(None, line, f"not YAML: {what}", None, "correct it there")
            return None
        if found is None:
            self._problem(None, "", "empty", None, "write `groups:` and hosts below it")
        return found

    def _mapping(
        self, node: yaml.Node | None, where: str, known: tuple[str, ...] = ()
    ) -> dict[str, yaml.Node]:
        """Key to value of a mapping; nothing at all is an empty one."""
        if node is None or (isinstance(node, yaml.ScalarNode) and self._value(node) is None):
            return {}
        if not isinstance(node, yaml.MappingNode):
            do = "write `key: value` lines, indented"
            self._problem(node, where, "not a mapping", shown(self._value(node)), do)
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in self._pairs(node, where):
            if known and key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                do = f"did you mean {close[0]!r}?" if close else f"use {' or '.join(known)}"
                self._problem(value, f"{where}.{key}".strip("."), "no such key", shown(key), do)
                continue
            found[key] = value
        return found

    def _pairs(self, node: yaml.MappingNode, where: str) -> Iterator[tuple[str, yaml.Node]]:
        seen: set[str] = set()
        loader = yaml.SafeLoader("")
        loader.flatten_mapping(node)
        for key_node, value in node.value:
            key = self._value(key_node)
            path = f"{where}.{key}".strip(".")
            if not isinstance(key, str):
                do = f'quote it: "{key_node.value}"'
                self._problem(key_node, path, "the key is no text", shown(key), do)
            elif key in seen:
                do = "keep one of the two"
                self._problem(key_node, path, "stands here twice", None, do)
            else:
                seen.add(key)
                yield key, value

    def _value(self, node: yaml.Node) -> Any:
        """The plain value of a node: dict, list, str, int, float, bool or None."""
        self._check_inside(node)
        loader = yaml.SafeLoader("")
        # a later loader shares nothing with the one that composed the node
        return loader.construct_document(node)

    def _check_inside(self, node: yaml.Node) -> None:
        """Keys given twice anywhere below; YAML would silently take the last one."""
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for key, value in node.value:
                name = getattr(key, "value", "")
                if keys.count(name) > 1 and name != "<<":
                    keys.remove(name)
                    self._problem(key, str(name), "stands here twice", None, "keep one of the two")
                self._check_inside(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                self._check_inside(value)

    def _line(self, node: yaml.Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"

    def _problem(
        self, node: yaml.Node | None, where: str, what: str, got: str | None, do: str
    ) -> None:
        line = self._line(node) if node is not None else str(self.path)
        found = Problem(line, where or "the file", what, got, do)
        if found not in self.problems:
            self.problems.append(found)
