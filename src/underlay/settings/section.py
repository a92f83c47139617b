"""The base of every settings section: frozen, typed, unknown keys refused.

A section is one whole top-level key of group_data, because pyinfra merges top-level keys and never
what is inside them. This is the only place, with `read`, that knows pydantic.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A nested group of settings inside a section."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Section(Part):
    """One top-level key of the inventory's data, owned by one feature.

    KEY: the name in group_data, for example `kube_proxy`.
    Every field needs a default, so that a host without the key gets the documented defaults.
    """

    KEY: ClassVar[str]
