"""A power cut at every shell command of an IPsec run: the next one converges, or leaves nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fake.ipsec_hosts import Boxes
from tests.fake.power import Use, again, cuts
from tests.fake.world import Run, run_on

from underlay.features.ipsec.deploy import connect

A, NODE, B = "@fake/a-gw", "@fake/a1", "@fake/b-gw"
HOSTS = (A, NODE, B)
LINK: dict[str, Any] = {
    "ends": {
        "a": {
            "gateway": A, "address": "192.0.2.1", "networks": ["10.10.0.0/24"], "nodes": [NODE],
            "inside": "10.10.0.1",
        },
        "b": {"gateway": B, "address": "192.0.2.2", "networks": ["10.20.0.0/24"]},
    },
    "psk": {"env": "TEST_PSK"},
    "proposals": ["aes256-sha256-modp2048"],
    "esp_proposals": ["aes256-sha256-modp2048"],
}  # fmt: skip
#: At which commands the power is cut: a sample of all; every third takes minutes.
EVERY = pytest.mark.parametrize("step", [61, pytest.param(3, marks=pytest.mark.slow)])
Action = Callable[[Boxes], Run]


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the inventory names."""
    monkeypatch.setenv("TEST_PSK", "correct horse")


@pytest.fixture
def bare(tmp_path: Path) -> Boxes:
    """Three hosts that have nothing yet."""
    return Boxes(tmp_path / "bare", HOSTS, (A, B))


@pytest.fixture
def applied(use: Use, bare: Boxes, tmp_path: Path) -> Boxes:
    """The same with the link."""
    found: Boxes = use(bare.copied(tmp_path / "applied"))
    assert apply(found).failed == set()
    return found


def apply(_: Boxes) -> Run:
    """One run with the link."""
    return run_on([*HOSTS], connect, {"ipsec": {"links": {"a-b": LINK}}})


def remove(_: Boxes) -> Run:
    """One run of an inventory that names no link."""
    return run_on([*HOSTS], connect, {})


def disagree(boxes: Boxes) -> Run:
    """One run with the link, which cannot be established."""
    boxes.agreeing = False
    try:
        return apply(boxes)
    finally:
        boxes.agreeing = True


def converged(boxes: Boxes, where: str) -> None:
    """Both daemons hold an association that comes from what is in the files, nothing waits."""
    for name in (A, B):
        box = boxes.boxes[name]
        assert box.sas() == {"a-b": box.agrees("a-b")}, f"{name} after {where}"
    strange = [path for path in boxes.everything() if path.endswith(".new") or "before" in path]
    assert not strange, where


@EVERY
@pytest.mark.parametrize("psk", ["correct horse", "another horse"], ids=["new", "new-secret"])
def test_an_apply_that_was_cut_converges(
    use: Use, bare: Boxes, applied: Boxes, tmp_path: Path, psk: str, step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TEST_PSK", psk)
    start = bare if psk == "correct horse" else applied
    for boxes, where in cuts(use, tmp_path, start, apply, step):
        again(boxes, apply, where)
        converged(boxes, where)


@EVERY
@pytest.mark.parametrize("action", [apply, remove])
def test_a_removal_after_any_cut_leaves_nothing(
    use: Use, bare: Boxes, applied: Boxes, tmp_path: Path, action: Action, step: int
) -> None:
    start = bare if action is apply else applied
    for boxes, where in cuts(use, tmp_path, start, action, step):
        again(boxes, remove, where)
        assert boxes.everything() == bare.everything(), where


@EVERY
@pytest.mark.parametrize("psk", ["correct horse", "another horse"], ids=["new", "new-secret"])
def test_a_way_back_that_was_cut(
    use: Use, bare: Boxes, applied: Boxes, tmp_path: Path, psk: str, step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A proof fails, and the power is cut before or while what was before is brought back."""
    monkeypatch.setenv("TEST_PSK", psk)
    start = bare if psk == "correct horse" else applied
    for boxes, where in cuts(use, tmp_path, start, disagree, step):
        other = use(boxes.copied(tmp_path / "other"))
        again(other, apply, where)
        converged(other, where)
        shutil.rmtree(other.folder)
        again(use(boxes), remove, where)
        assert boxes.everything() == bare.everything(), where
