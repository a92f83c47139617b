"""Images into a lab: refused before anything is sent where nothing would run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay.errors import LabError
from underlay.lab import container_images
from underlay.lab.state import Lab


def test_a_lab_without_kubernetes_runs_no_images(tmp_path: Path) -> None:
    lab = Lab("plain", "flat", 1, "bookworm", "", 512, "tcg", {"cp1": 1})
    archive = tmp_path / "image.tar"
    archive.touch()
    with pytest.raises(LabError, match="plain: has no Kubernetes"):
        container_images.load(lab, [archive], print)
