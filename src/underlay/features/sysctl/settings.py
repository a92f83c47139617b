"""The `sysctl` section."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from underlay.facts.sysctl import KEY
from underlay.features.sysctl.profiles import PROFILES
from underlay.floor import raised
from underlay.operations.sysctl import BUCKETS, MAX, NEIGHBOURS, Wanted
from underlay.settings import Part, Section


def _number(text: str) -> bool:
    return text == "auto" or all(word.lstrip("-").isdigit() for word in text.split())


#: Settings that hold numbers only, as the profiles know them.
_NUMBERS = frozenset(
    key
    for profile in PROFILES.values()
    for key, entry in profile.items()
    if _number(entry.wanted.value)
)


class Minimum(Part):
    """A value that is only ever raised to [underlay].

    at_least: the lowest value, a higher live one stays.
    """

    at_least: int = Field(ge=0)


class Sysctl(Section):
    """Kernel settings of one host [sysctl.d(5)].

    state: `absent` gives every key back [underlay].
    profiles: values for a purpose, mostly minimums, later ones win key by key, of two minimums the
        higher [linux, networking/ip-sysctl.rst, networking/nf_conntrack-sysctl.rst,
        admin-guide/sysctl/net.rst].
    values: key -> value, exact and over the profiles, none takes a profile's key out {each a
        number, words of one line, or at_least}.
    """

    KEY: ClassVar[str] = "sysctl"

    state: Literal["present", "absent"] = "present"
    profiles: tuple[str, ...] = Field(
        default=(), json_schema_extra={"items": {"type": "string", "enum": [*PROFILES]}}
    )
    values: dict[str, int | str | Minimum | None] = Field(default_factory=dict)

    @field_validator("profiles")
    @classmethod
    def _known(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in found if name not in PROFILES]
        if unknown:
            raise ValueError(f"no profile {unknown[0]!r}; use {', '.join(PROFILES)}")
        return found

    @field_validator("values")
    @classmethod
    def _keys(
        cls, found: dict[str, int | str | Minimum | None]
    ) -> dict[str, int | str | Minimum | None]:
        for key, value in found.items():
            if not KEY.fullmatch(key):
                raise ValueError(f"not a setting: {key!r}; write it as `sysctl -a` shows it")
            if isinstance(value, str) and (not value.strip() or not value.isprintable()):
                raise ValueError(f"{key}: {value!r} is not one line; write plain words")
            if isinstance(value, str) and key in _NUMBERS and not _number(value):
                raise ValueError(f"{key}: {value!r} is not a number; write one")
        return found

    @model_validator(mode="after")
    def _together(self) -> Sysctl:
        values = {key: wanted.value for key, wanted in self.wanted().items()}
        for check in (_neighbours, _buckets, _triples):
            check(values)
        return self

    def wanted(self) -> dict[str, Wanted]:
        """Every declared key, in the order it is written to the file."""
        if self.state == "absent":
            return {}
        found: dict[str, Wanted] = {}
        for key, entry in (pair for name in self.profiles for pair in PROFILES[name].items()):
            found[key] = _both(key, found.get(key), entry.wanted)
        for key, value in self.values.items():
            if value is None:
                found.pop(key, None)
            elif isinstance(value, Minimum):
                found[key] = Wanted(str(value.at_least), at_least=True)
            else:
                found[key] = Wanted(" ".join(str(value).split()))
        # the table's size decides its buckets
        if MAX in found:
            found = {MAX: found.pop(MAX), **found}
        return found


def _both(key: str, earlier: Wanted | None, later: Wanted) -> Wanted:
    """The later one; of two minimums what has all of both."""
    if earlier is None or not (earlier.at_least and later.at_least):
        return later
    return Wanted(raised(key, earlier.value, later.value), at_least=True)


def _neighbours(values: dict[str, str]) -> None:
    given = [int(values[name]) for name in NEIGHBOURS if values.get(name, "").isdigit()]
    if len(given) == 3 and given != sorted(given):
        text = ", ".join(str(value) for value in given)
        raise ValueError(f"gc_thresh1, 2, 3 are {text}; each must be at least the one before")


def _buckets(values: dict[str, str]) -> None:
    size, buckets = values.get(MAX, "auto"), values.get(BUCKETS, "auto")
    if buckets == "auto" and BUCKETS in values and MAX not in values:
        raise ValueError(f"{BUCKETS} is auto without {MAX}; give both, or a number")
    if size.isdigit() and buckets.isdigit() and not int(size) // 8 <= int(buckets) <= int(size):
        raise ValueError(
            f"{BUCKETS} is {buckets} for a table of {size}; use a quarter of it to all of it"
        )


def _triples(values: dict[str, str]) -> None:
    for key in ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"):
        words = values.get(key, "1 1 1").split()
        numbers = [int(word) for word in words if word.isdigit()]
        if len(numbers) != 3 or numbers != sorted(numbers):
            raise ValueError(f"{key} is {values[key]!r}; write minimum, default and maximum")
