"""The reference of every setting as Markdown, from the models of all sections. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from underlay.settings.meaning import Told, about, told
from underlay.settings.models import default, parts, type_words
from underlay.settings.ranges import span
from underlay.settings.section import Section

HEAD = """# Every setting

Made from the models in `src/underlay` by `make reference`; do not edit it by hand. What `underlay
settings` and every deploy check is this and the rules that each page names. `NAME` stands for a key
of your own, `[]` for each entry of a list. The source says where a setting, its words or its range
come from; `underlay` is a choice of our own. The same for editors: `underlay schema`, stored as
[schemas/inventory.json](schemas/inventory.json).
"""

COLUMNS = ("setting", "type", "default", "range", "meaning", "source")


def markdown(sections: Sequence[type[Section]]) -> str:
    """One heading per section and per group of settings inside it."""
    return "\n".join([HEAD, *(line for section in sections for line in section_lines(section))])


def section_lines(section: type[Section]) -> Iterator[str]:
    """The lines of one section, each ending in an empty one."""
    yield f"## {section.KEY}\n"
    yield from _model(section)
    for path, model in parts(section).items():
        yield f"### {section.KEY}.{path}\n"
        yield from _model(model)


def rows(model: type[BaseModel]) -> Iterator[dict[str, str]]:
    """Each setting of a model by the names in COLUMNS."""
    texts = told(model)
    for name, field in model.model_fields.items():
        text = texts.get(name, Told())
        cells = (
            f"`{name}`", type_words(field), default(field), text.range or span(field),
            text.meaning, text.source,
        )  # fmt: skip
        yield dict(zip(COLUMNS, cells, strict=True))


def _model(model: type[BaseModel]) -> Iterator[str]:
    yield f"{about(model)}\n"
    yield f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    for row in rows(model):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row.values())} |"
    yield ""
