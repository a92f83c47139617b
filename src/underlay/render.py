"""The one jinja environment: `render("sysctl/90-underlay.conf.j2", keys=...)`.

The rule: a template gets plain values and every one it names; a missing value is an error, never an
empty string in a configuration file.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from underlay.errors import RenderError


def render(template: str, **values: object) -> str:
    """The text of one template below `templates/`; RenderError names the template and the value."""
    try:
        return _environment().get_template(template).render(**values)
    except TemplateError as error:
        raise RenderError(f"template {template}: {error}") from error


def source(template: str) -> str:
    """The text of a file below `templates/` as it is."""
    for folder in _folders():
        if (folder / template).is_file():
            return (folder / template).read_text()
    raise RenderError(f"template {template}: not found; reinstall underlay")


def names(folder: str) -> list[str]:
    """Every file below a folder of `templates/`, sorted; RenderError when there is none."""
    for place in _folders():
        found = [path for path in (place / folder).rglob("*") if path.is_file()]
        found = [path for path in found if "__pycache__" not in path.parts]
        if found:
            return sorted(str(path.relative_to(place)) for path in found)
    raise RenderError(f"template {folder}: not found; reinstall underlay")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_folders()),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _folders() -> list[Path]:
    """A wheel carries the templates inside the package; an editable install has them beside it."""
    package = Path(__file__).resolve().parent
    return [package / "templates", package.parent.parent / "templates"]
