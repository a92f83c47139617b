"""Holders of a lease in PID namespaces of the kernel, as containers have them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from underlay.cluster.holder import has_ended, myself

pytestmark = pytest.mark.netns

INSIDE = """
import sys
from underlay.cluster.holder import has_ended, myself
print(myself())
print(has_ended(sys.argv[1]))
"""
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")


def _inside(*words: str) -> list[str]:
    call = [*words, sys.executable, "-c", INSIDE, myself()]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.splitlines()


def test_two_containers_of_one_name_and_number_are_two_and_neither_sees_the_other_end() -> None:
    first, ended = _inside(*CONTAINER)
    second, _ = _inside(*CONTAINER)
    assert first.split()[0] == second.split()[0], "both are number 1 of this computer"
    assert first != second
    assert ended == "False", "this process runs, and is not seen from there"
    assert not has_ended(first), "it has ended, and that is not seen from here"


def test_a_container_without_a_proc_of_its_own_says_only_what_it_knows() -> None:
    holder, ended = _inside("unshare", "--pid", "--fork")
    assert holder == f"{myself().partition('/')[0]}/1"
    assert ended == "False"


def test_a_process_beside_this_one_is_seen_to_end() -> None:
    assert has_ended(_inside()[0])
