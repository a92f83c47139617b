"""What a setting may be, in words, as far as its type says it. Pure."""

from __future__ import annotations

import inspect
import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from underlay.settings.models import is_mapping, items

_BOUNDS = (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most"))
#: Types that are a range by themselves.
_WHOLE = {
    "bool": "`true`, `false`", "IPv4Network": "an IPv4 network, host bits zero",
    "IPv4Address": "an IPv4 address",
}  # fmt: skip


def span(field: FieldInfo) -> str:
    """The range of a setting, "" where only its docstring can say it."""
    choices = items(field)
    if choices:
        return f"each {_either(choices)}"
    return _span(field.annotation, field.metadata)


def _span(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    if hasattr(annotation, "__metadata__"):
        return _span(annotation.__origin__, annotation.__metadata__)
    said = _numbers(metadata) or _checked(metadata)
    if said:
        return said
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _either(arguments)
    if origin in (Union, types.UnionType):
        found = [_span(each) for each in arguments if each is not type(None)]
        return " or ".join(found) if all(found) else ""
    if origin in (tuple, list) or is_mapping(origin):
        inner = _span(arguments[1] if is_mapping(origin) else arguments[0])
        return inner if inner in ("", "below") or inner.startswith("each ") else f"each {inner}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "below"
    return _WHOLE.get(annotation.__name__, "")


def _either(words: Sequence[Any]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _numbers(metadata: Sequence[Any]) -> str:
    found = {
        name: getattr(entry, name)
        for entry in metadata
        for name, _ in _BOUNDS
        if hasattr(entry, name)
    }
    if set(found) == {"ge", "le"}:
        return f"{found['ge']} to {found['le']}"
    return ", ".join(f"{words} {found[name]}" for name, words in _BOUNDS if name in found)


def _checked(metadata: Sequence[Any]) -> str:
    """What the docstring of a validator such as `_network` says that it takes."""
    for entry in metadata:
        function = getattr(entry, "func", None)
        if function is not None:
            text = (inspect.getdoc(function) or "").rstrip(".")
            return text[:1].lower() + text[1:]
    return ""
