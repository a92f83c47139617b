"""The shell text of the cases is run in a folder that stands for the host.

Every path of the host in a command becomes one below that folder, so that a real shell reads and
writes plain files. What the kernel itself does to a value is the namespace tier's to show.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests import cases
from tests.operations.test_cases import KNOWN, arguments_of

from underlay import journal
from underlay.facts.sysctl import KernelSettings, Sysctls, proc_path
from underlay.operations.sysctl import plan
from underlay.operations.sysctl_script import CHANGE, PATH, script

FOLDERS = ("/proc/sys", "/etc/sysctl.d", "/var/lib/underlay")
CHANGING = [
    case
    for case in cases.load(Path(__file__).parent, KNOWN)
    if case.values[0] == "sysctl.settings" and "script" in case.values[1]
]


class Tree:
    """The host of a case as files."""

    def __init__(self, root: Path, readings: Mapping[str, str]) -> None:
        self.root = root
        for line in readings["values"].splitlines():
            path, _, value = line.partition(":")
            self.write(path, value + "\n")
        for path, name in ((PATH, "ours"), (journal.path(CHANGE), "journal")):
            if name in readings:
                self.write(path, readings[name])

    def write(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def text(self, path: str) -> str | None:
        target = self.root / path.lstrip("/")
        return target.read_text() if target.exists() else None

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        for folder in FOLDERS:
            text = text.replace(folder, f"{self.root}{folder}")
        return subprocess.run(["sh", "-c", text], capture_output=True, text=True)

    def read(self, keys: list[str]) -> KernelSettings:
        fact = Sysctls()
        command = shlex.split(str(fact.command(keys=keys, path=PATH, change=CHANGE)))[2]
        lines = self.run(command).stdout.replace(str(self.root), "").splitlines()
        found = fact.process(lines)
        assert found is not None
        return found


def _steps(tree: Tree, case: Mapping[str, Any]) -> tuple[KernelSettings, Any]:
    held = [line.partition(":")[0] for line in case["readings"]["values"].splitlines()]
    keys = [path.removeprefix("/proc/sys/").replace("/", ".") for path in held]
    found = tree.read(keys)
    return found, plan(found, arguments_of(case["arguments"])["wanted"])


@pytest.mark.parametrize(("name", "case"), CHANGING)
def test_what_was_applied_is_not_applied_again(
    name: str, case: Mapping[str, Any], tmp_path: Path
) -> None:
    tree = Tree(tmp_path, case["readings"])
    found, steps = _steps(tree, case)
    assert not steps.empty, name
    done = tree.run(script(steps, found))
    assert (done.returncode, done.stderr) == (0, "")
    after, again = _steps(tree, case)
    assert again.empty
    assert {key: after.values[key] for key, _ in steps.live} == dict(steps.live)


HOST = {
    "values": "/proc/sys/net/ipv4/ip_forward:0\n/proc/sys/net/core/somaxconn:4096\n"
    "/proc/sys/net/ipv4/tcp_fin_timeout:60\n",
}
WANTED = {"net.ipv4.ip_forward": 1, "net.core.somaxconn": 32768, "net.ipv4.tcp_fin_timeout": 15}


def test_a_refused_value_undoes_the_others_and_leaves_no_file(tmp_path: Path) -> None:
    tree = Tree(tmp_path, HOST)
    case = {"readings": HOST, "arguments": {"wanted": WANTED}}
    found, steps = _steps(tree, case)
    text = script(steps, found)
    refusing = proc_path("net.ipv4.tcp_fin_timeout")
    # nothing can be written to a folder, root or not
    (tmp_path / refusing.lstrip("/")).unlink()
    (tmp_path / refusing.lstrip("/")).mkdir()
    done = tree.run(text)
    assert done.returncode == 1
    assert "sysctl net.ipv4.tcp_fin_timeout: the kernel refused '15'" in done.stderr
    assert tree.text(proc_path("net.ipv4.ip_forward")) == "0\n"
    assert tree.text(proc_path("net.core.somaxconn")) == "4096\n"
    assert tree.text(PATH) is None


def test_a_value_that_the_kernel_makes_another_of_is_a_refusal(tmp_path: Path) -> None:
    tree = Tree(tmp_path, HOST)
    case = {"readings": HOST, "arguments": {"wanted": WANTED}}
    found, steps = _steps(tree, case)
    # a link to /dev/null takes every value and keeps none
    target = tmp_path / proc_path("net.core.somaxconn").lstrip("/")
    target.unlink()
    target.symlink_to("/dev/null")
    done = tree.run(script(steps, found))
    assert done.returncode == 1
    assert "net.core.somaxconn: the kernel made another value of '32768'" in done.stderr
    assert tree.text(proc_path("net.ipv4.ip_forward")) == "0\n"
    assert tree.text(PATH) is None


def test_a_run_cut_short_after_the_journal_is_taken_up(tmp_path: Path) -> None:
    tree = Tree(tmp_path, HOST)
    case = {"readings": HOST, "arguments": {"wanted": WANTED}}
    found, steps = _steps(tree, case)
    lines = script(steps, found).split("\n")
    first_write = next(n for n, line in enumerate(lines) if line.startswith("printf '%s\\n' 1 >"))
    assert tree.run("\n".join(lines[: first_write + 1])).returncode == 0
    found, steps = _steps(tree, case)
    assert [key for key, _ in steps.live] == ["net.core.somaxconn", "net.ipv4.tcp_fin_timeout"]
    assert tree.run(script(steps, found)).returncode == 0
    assert _steps(tree, case)[1].empty
    back = {"readings": HOST, "arguments": {"wanted": {}}}
    found, steps = _steps(tree, back)
    assert tree.run(script(steps, found)).returncode == 0
    assert tree.text(proc_path("net.ipv4.ip_forward")) == "0\n"
    assert tree.text(PATH) is None
