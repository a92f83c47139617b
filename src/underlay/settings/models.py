"""What a section is made of: its models by path, and the words for the types of settings. Pure."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

#: Plain words for types that a reader of an inventory does not know by their Python name.
_WORDS = {
    "str": "text", "int": "whole number", "float": "number", "bool": "true or false",
    "IPv4Network": "IPv4 network", "IPv4Address": "IPv4 address", "IPv6Network": "IPv6 network",
    "IPv6Address": "IPv6 address", "NoneType": "none",
}  # fmt: skip


def parts(model: type[BaseModel], path: str = "") -> dict[str, type[BaseModel]]:
    """Dotted path below a section -> nested model; `NAME` stands for a free key."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in model.model_fields.items():
        for step, inner in _models(field.annotation):
            where = f"{path}{name}{step}"
            found[where] = inner
            found.update(parts(inner, f"{where}."))
    return found


def _models(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
        return
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    step = ".NAME" if is_mapping(origin) else "[]" if origin in (tuple, list) else ""
    for argument in arguments[-1:] if step == ".NAME" else arguments:
        for inner, model in _models(argument):
            yield step + inner, model


def type_words(field: FieldInfo) -> str:
    """The type of a setting, for people."""
    return _words(field.annotation, field.metadata, items(field))


def _words(annotation: Any, metadata: Any = (), choices: tuple[str, ...] = ()) -> str:
    if hasattr(annotation, "__metadata__"):
        return _words(annotation.__origin__, annotation.__metadata__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    named = _checked(metadata)
    if origin is Literal:
        return "word"
    if origin in (Union, types.UnionType):
        found = [_words(each, metadata) for each in arguments if each is not type(None)]
        return " or ".join(dict.fromkeys(found))
    if origin in (tuple, list):
        inner = "word" if choices else named if arguments[0] is str and named else ""
        return f"list of {inner or _words(arguments[0])}"
    if is_mapping(origin):
        return f"mapping of name to {_words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "settings below"
    return named or _WORDS.get(annotation.__name__, annotation.__name__)


def items(field: FieldInfo) -> tuple[str, ...]:
    """The choices that a field declares for its items, because code checks them."""
    extra = field.json_schema_extra
    found = extra.get("items") if isinstance(extra, Mapping) else None
    names = found.get("enum") if isinstance(found, Mapping) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _checked(metadata: Any) -> str:
    """The word of a validator such as `_network`: what it accepts."""
    for entry in metadata:
        function = getattr(entry, "func", None)
        if function is not None:
            return str(function.__name__).strip("_").replace("_", " ")
    return ""


def default(field: FieldInfo) -> str:
    """The default as JSON, `required` for none, "" for a nested model that has its own."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    return "none" if value is None else f"`{json.dumps(to_jsonable_python(value))}`"


def is_mapping(origin: Any) -> bool:
    """Whether a type stands for a mapping of names."""
    return isinstance(origin, type) and issubclass(origin, Mapping)
