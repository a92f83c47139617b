"""The version of a Kubernetes binary. Pure but for asking it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from underlay.errors import LabError


@dataclass(frozen=True, order=True)
class Version:
    """A release such as 1.33.2; pre-release and build parts are dropped."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def at_least(self, minor: int) -> bool:
        """Whether this is 1.`minor` or newer."""
        return (self.major, self.minor) >= (1, minor)


def parse(text: str) -> Version:
    """The version in text such as `Kubernetes v1.20.2` or `v1.36.0-rc.1`."""
    found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise LabError(f"not a Kubernetes version (got {text.strip()[:60]!r})")
    return Version(*(int(part) for part in found.groups()))
