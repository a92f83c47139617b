"""The reference of every setting as Markdown, from the models of all sections. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from underlay.settings.meaning import about, meanings, mirrored
from underlay.settings.models import bounds, default, parts, type_words
from underlay.settings.section import Section

HEAD = """# Every setting

Made from the models in `src/underlay` by `make reference`; do not edit it by hand. What `underlay
settings` and every deploy check is this and the rules that each page names. `NAME` stands for a key
of your own, `[]` for each entry of a list. The same for editors: `underlay schema`, stored as
[schemas/inventory.json](schemas/inventory.json).
"""


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


def _model(model: type[BaseModel]) -> Iterator[str]:
    yield f"{about(model)}\n"
    texts = meanings(model)
    yield "| setting | type | default | range | meaning |\n|---|---|---|---|---|"
    for name, field in model.model_fields.items():
        text = texts.get(name, f"`{camel(name)}` there" if mirrored(model) else "")
        cells = (f"`{name}`", type_words(field), default(field), bounds(field), text)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def camel(name: str) -> str:
    """The name of a field in Kubernetes objects: `sync_period` is syncPeriod."""
    first, *rest = name.split("_")
    upper = {"arp": "ARP", "cidrs": "CIDRs"}
    return first + "".join(upper.get(word, word.capitalize()) for word in rest)
