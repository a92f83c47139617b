"""What each setting means, taken from the docstring of its model. Pure.

The rule: a model's docstring is the one text about its settings. It begins with what the model is
and goes on with `name: meaning; other, third: meaning.`
"""

from __future__ import annotations

import inspect
import re

from pydantic import BaseModel


def about(model: type[BaseModel]) -> str:
    """What the model is: its docstring up to the first setting, one line."""
    text, marks = _marks(model)
    return text[: marks[0].start()].strip() if marks else text


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Setting -> its meaning without a full stop, for those that the docstring names."""
    text, marks = _marks(model)
    if not marks:
        return {}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {
        name: text[mark.end() : end].strip().rstrip(";.")
        for mark, end in zip(marks, ends, strict=True)
        for name in mark.group("names").split(", ")
    }


def mirrored(model: type[BaseModel]) -> bool:
    """Whether the model stands for an object of somebody else, field by field."""
    return re.match(r"`[\w.]+` of [A-Z]\w+[;.,]", about(model)) is not None


def unexplained(model: type[BaseModel]) -> list[str]:
    """Settings that the docstring does not name, of a model that has to."""
    if mirrored(model):
        return []
    return [name for name in model.model_fields if name not in meanings(model)]


def _marks(model: type[BaseModel]) -> tuple[str, list[re.Match[str]]]:
    """The docstring as one line, and where each setting begins in it."""
    text = " ".join(inspect.cleandoc(model.__doc__ or "").split())
    name = "|".join(sorted(map(re.escape, model.model_fields), key=len, reverse=True))
    pattern = rf"(?:^|(?<=[.;] ))(?P<names>(?:{name})(?:, (?:{name}))*): "
    return text, list(re.finditer(pattern, text)) if name else []
