"""Every place of a section where a value can stand, found from its model and not from a list.

A place is filled inside surroundings that are valid, so that what is refused is refused for itself.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from underlay.settings import Section
from underlay.settings.read import read_section

#: Values that nobody means harm by; one of them fits most settings.
BENIGN: tuple[Any, ...] = (
    "n1", "10.200.0.7", "10.200.0.0/24", "192.0.2.1:51820", "30s", "kubernetes", "auto", 64512, 1,
    True, "/etc/n1",
)  # fmt: skip
Fill = Callable[[Any], Any]


@dataclass(frozen=True)
class Place:
    """path: dotted, below the section; fill: a value -> the section with it there."""

    path: str
    fill: Fill


def places(section: type[Section], base: Mapping[str, Any]) -> list[Place]:
    """Every place, in surroundings with what is required and in ones with all there is.

    base: a valid section that the places are looked for in; {} for one made up.
    """
    found = []
    for rich in (False, True):
        for path, fill in _model(section, dict(base), rich):
            found.append(Place(path, fill))
    return found


def bad(do: str) -> tuple[str, ...]:
    """Values that would do it, become options or files, or break a line, anywhere unquoted."""
    return (
        f"$({do})", f"`{do}`", f"';{do};'", f'";{do};"', f"\n{do}\n", f"a;{do}", f"a|{do}",
        f"a&&{do}#", f"\\';{do};'", f"${{x:-$({do})}}", "--hostile", "-Zq", "../../etc/passwd",
        "%s%n", "\u00e9\U0001f600\u202e", "x" * 10_000, "a\0b", "{{ 7 * 7 }}", "*", "~root", "a b",
        "", "EOF",
    )  # fmt: skip


def hostile(section: type[Section], base: Mapping[str, Any], do: str) -> list[tuple[str, str, Any]]:
    """(path, value, section) of every hostile value that the section alone lets through."""
    # at the ends: what a validator that looks at only one end or one line would let through
    ends = ("\n", f"$({do})", f"\n{do}", f";{do}")
    found: dict[tuple[str, str], Any] = {}
    for place in places(section, base):
        fits = [word for word in BENIGN if isinstance(word, str)]
        fits = [word for word in fits if accepted(section, place.fill(word))]
        for value in (*bad(do), *(f"{word}{end}" for word in fits for end in ends)):
            raw = place.fill(value)
            if accepted(section, raw):
                found.setdefault((place.path, value), raw)
    return [(path, value, raw) for (path, value), raw in found.items()]


def accepted(section: type[Section], raw: Any) -> bool:
    """Whether the section alone is valid."""
    return read_section("n1", raw, section)[0] is not None


def _annotated(field: FieldInfo) -> Any:
    """The type of a field with all that was said of it."""
    parts = (field.annotation, *field.metadata)
    return Annotated[parts] if field.metadata else field.annotation


def _model(model: type[BaseModel], base: dict[str, Any], rich: bool) -> Iterator[tuple[str, Fill]]:
    around = {**surroundings(model, rich), **base}
    for name, field in model.model_fields.items():
        annotation = _annotated(field)
        for step, fill in _inside(annotation, around.get(name), rich):
            yield f"{name}{step}", _set(around, name, fill)


def _set(around: dict[str, Any], name: str, fill: Fill) -> Fill:
    return lambda value: {**around, name: fill(value)}


def _only(fill: Fill) -> Fill:
    return lambda value: [fill(value)]


def _inside(annotation: Any, base: Any, rich: bool) -> Iterator[tuple[str, Fill]]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        for each in arguments:
            yield from _inside(each, base, rich)
    elif origin in (tuple, list):
        for step, fill in _inside(arguments[0], None, rich):
            yield f"[]{step}", _only(fill)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _mapping(arguments[1], base if isinstance(base, dict) else {}, rich)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for step, fill in _model(annotation, base if isinstance(base, dict) else {}, rich):
            yield f".{step}", fill
    elif annotation is not type(None):
        yield "", lambda value: value


def _mapping(kind: Any, base: dict[str, Any], rich: bool) -> Iterator[tuple[str, Fill]]:
    """The key of an entry, then every place in its value; of `base` the first entry is taken."""
    key = next(iter(base), "n1")
    entry = base.get(key, value_of(kind, rich))
    rest = {name: found for name, found in base.items() if name != key}
    yield ".KEY", lambda value: {**rest, value: entry}
    for step, fill in _inside(kind, entry, rich):
        yield f".{key}{step}", _set(rest, key, fill)


def surroundings(model: type[BaseModel], rich: bool) -> dict[str, Any]:
    """What a valid one needs; `rich`: a value for every setting that takes a plain one."""
    found = {}
    for name, field in model.model_fields.items():
        if field.is_required() or rich:
            value = value_of(_annotated(field), rich)
            if value is not None and (field.is_required() or not isinstance(value, dict | list)):
                found[name] = value
    return found


def value_of(kind: Any, rich: bool) -> Any:
    """A valid value of a type; None when no harmless value fits."""
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return surroundings(plain, rich)
    literals = [word for each in _flat(plain) for word in get_args(each)]
    for candidate in (*literals, *BENIGN, [], {}):
        try:
            TypeAdapter(kind).validate_python(candidate)
        except ValidationError:
            continue
        return candidate
    return None


def _flat(kind: Any) -> Iterator[Any]:
    for each in get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,):
        if get_origin(each) is Literal:
            yield each
