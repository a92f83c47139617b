"""Where container images are: a host, a port, a path, and nothing that could end it in YAML."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

#: As the reference of an image begins (distribution/reference, "domain" and "path-component").
_REGISTRY = re.compile(
    r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?"
    r"(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*/?"
)


def _registry(text: str) -> str:
    if len(text) > 200 or not _REGISTRY.fullmatch(text):
        raise ValueError(f"not a registry: {text!r}; write it as registry.example:5000/mirror")
    return text


Registry = Annotated[str, AfterValidator(_registry)]
