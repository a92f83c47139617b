"""What each setting means, may be and comes from, taken from the docstring of its model. Pure.

The rule: a model's docstring is the one text about its settings. It begins with what the model is
and goes on with `name: meaning {range} [source].` for each. A range is said where the type does not
say it; a source after what the model is holds for every setting without one of its own.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from pydantic import BaseModel

_TOLD = re.compile(
    r"(?P<meaning>.*?)(?: \{(?P<range>[^{}]+)\})?(?: \[(?P<source>[^\[\]]+)\])?[.;]?", re.DOTALL
)


@dataclass(frozen=True)
class Told:
    """What a docstring says of one setting; "" for what it leaves out."""

    meaning: str = ""
    range: str = ""
    source: str = ""


def about(model: type[BaseModel]) -> str:
    """What the model is: its docstring up to the first setting, one line, without a source."""
    head, source = _head(model)
    return re.sub(rf" \[{re.escape(source)}\](?=\.?$)", "", head) if source else head


def told(model: type[BaseModel]) -> dict[str, Told]:
    """Setting -> what is said of it, for those that the docstring names."""
    text, marks = _marks(model)
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    _, general = _head(model)
    return {
        name: _told(text[mark.end() : end].strip(), general)
        for mark, end in zip(marks, ends, strict=True)
        for name in mark.group("names").split(", ")
    }


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Setting -> its meaning without a full stop."""
    return {name: found.meaning for name, found in told(model).items()}


def unexplained(model: type[BaseModel]) -> list[str]:
    """Settings that the docstring does not name."""
    return [name for name in model.model_fields if name not in told(model)]


def _told(text: str, general: str) -> Told:
    found = _TOLD.fullmatch(text)
    if found is None:
        return Told(text)
    return Told(found["meaning"], found["range"] or "", found["source"] or general)


def _head(model: type[BaseModel]) -> tuple[str, str]:
    """The docstring before the first setting, and the source at its end."""
    text, marks = _marks(model)
    head = text[: marks[0].start()].strip() if marks else text
    source = re.search(r" \[([^\[\]]+)\]\.?$", head)
    return head, source.group(1) if source else ""


def _marks(model: type[BaseModel]) -> tuple[str, list[re.Match[str]]]:
    """The docstring as one line, and where each setting begins in it."""
    text = " ".join(inspect.cleandoc(model.__doc__ or "").split())
    name = "|".join(sorted(map(re.escape, model.model_fields), key=len, reverse=True))
    pattern = rf"(?:^|(?<=[.;] ))(?P<names>(?:{name})(?:, (?:{name}))*): "
    return text, list(re.finditer(pattern, text)) if name else []
