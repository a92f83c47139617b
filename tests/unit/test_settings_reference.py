"""What is said about settings is what the models are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import AfterValidator, Field
from pyinfra.api.connectors import get_all_connectors

from underlay.features import all_sections
from underlay.settings import Part, Section
from underlay.settings.keys import CONNECTOR_PREFIXES
from underlay.settings.meaning import Told, about, meanings, told, unexplained
from underlay.settings.models import parts
from underlay.settings.reference import markdown, rows, section_lines
from underlay.settings.schema import inventory_schema

ROOT = Path(__file__).resolve().parent.parent.parent
STALE = "differs from the models; run `make reference`"


def _even(text: str) -> str:
    """A word of an even length."""
    return text


class Inner(Part):
    """An object of others; none leaves it [RFC 1, section 2].

    sync_period: how long, in seconds. word: which one {one of ours} [underlay].
    """

    sync_period: int | None = Field(default=None, ge=1, le=9)
    word: str = "x"


class Row(Part):
    """One row.

    key: what is looked for, as `a: b` too {a key} [man(8)]; other, third: both; with two clauses.
    """

    key: str
    other: tuple[int, ...] = (1, 2)
    third: dict[str, Inner] = Field(default_factory=dict)


class Sample(Section):
    """A sample. It has two sentences.

    rows: a table, `x|y`. names: some [a[0]].
    """

    KEY: ClassVar[str] = "sample"

    rows: tuple[Row, ...] = ()
    names: dict[str, tuple[Annotated[str, AfterValidator(_even)], ...]] = Field(
        default_factory=dict
    )
    mode: Literal["a", "b"] = "a"
    share: Annotated[int | str, AfterValidator(_even)] = 1
    on: bool | None = None
    inner: Inner = Inner()


def test_what_is_said_of_a_setting_is_in_the_docstring() -> None:
    assert about(Row) == "One row."
    assert told(Row) == {
        "key": Told("what is looked for, as `a: b` too", "a key", "man(8)"),
        "other": Told("both; with two clauses"),
        "third": Told("both; with two clauses"),
    }
    assert meanings(Row)["other"] == "both; with two clauses"
    assert unexplained(Row) == []
    assert unexplained(Sample) == ["mode", "share", "on", "inner"]
    assert about(Sample) == "A sample. It has two sentences."


def test_a_source_of_the_whole_model_is_that_of_each_setting_without_one() -> None:
    assert about(Inner) == "An object of others; none leaves it."
    assert told(Inner) == {
        "sync_period": Told("how long, in seconds", "", "RFC 1, section 2"),
        "word": Told("which one", "one of ours", "underlay"),
    }


def test_the_reference_has_type_default_range_meaning_and_source() -> None:
    assert set(parts(Sample)) == {"rows[]", "rows[].third.NAME", "inner"}
    text = "\n".join(section_lines(Sample))
    for row in (
        "## sample",
        "| `rows` | list of settings below | `[]` | below | a table, `x\\|y` |  |",
        '| `mode` | word | `"a"` | `a`, `b` |  |  |',
        "| `share` | even | `1` | a word of an even length |  |  |",
        "| `on` | true or false | none | `true`, `false` |  |  |",
        "### sample.rows[]",
        "| `key` | text | required | a key | what is looked for, as `a: b` too | man(8) |",
        "| `other` | list of whole number | `[1, 2]` |  | both; with two clauses |  |",
        "### sample.rows[].third.NAME",
        "| `sync_period` | whole number | none | 1 to 9 | how long, in seconds |"
        " RFC 1, section 2 |",
    ):
        assert row in text.splitlines(), row
    names = next(row for row in rows(Sample) if row["setting"] == "`names`")
    assert names["range"] == "each a word of an even length"


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
def test_every_setting_has_a_meaning_a_range_and_a_source(section: type[Section]) -> None:
    for path, model in {"": section, **parts(section)}.items():
        assert about(model), f"{model.__name__} says not what it is"
        for row in rows(model):
            missing = [name for name in ("range", "meaning", "source") if not row[name]]
            assert not missing, (
                f"{section.KEY}.{path} {row['setting']}: no {', '.join(missing)}; write"
                f" `name: meaning {{range}} [source].` in the docstring of {model.__name__}"
            )


def test_a_meaning_is_of_one_setting_only() -> None:
    for section in all_sections():
        for model in (section, *parts(section).values()):
            found = [*meanings(model).values()]
            assert len(set(found)) == len(found), f"{model.__name__}: two settings mean the same"


def test_the_stored_reference_is_that_of_the_models() -> None:
    stored = (ROOT / "docs/settings-reference.md").read_text()
    assert stored == markdown(all_sections()), f"docs/settings-reference.md {STALE}"


def _schema() -> dict[str, Any]:
    return inventory_schema(all_sections(), CONNECTOR_PREFIXES)


def test_the_stored_schema_is_that_of_the_models() -> None:
    stored = json.loads((ROOT / "docs/schemas/inventory.json").read_text())
    assert stored == _schema(), f"docs/schemas/inventory.json {STALE}"


def test_the_schema_takes_the_example_and_refuses_what_is_misspelt() -> None:
    Draft202012Validator.check_schema(_schema())
    validator = Draft202012Validator(_schema())
    example = yaml.safe_load((ROOT / "inventories/example.yaml").read_text())
    validator.validate(example)
    for path, value in (
        (("group",), {}),
        (("data", "kube_proxi"), {}),
        (("data", "kube_proxy"), {"ipvs": {"scheduler": "round"}}),
        (("data", "sysctl"), {"profiles": ["kubernets-node"]}),
        (("data", "preflight"), {"backup_days": 0}),
        (("groups", "work-ers"), {}),
        (("groups", "all"), {}),
        (("groups", "workers", "hosts", "w1", "wireguard"), {"overlays": {"wg0": {}}}),
    ):
        wrong = yaml.safe_load((ROOT / "inventories/example.yaml").read_text())
        place = wrong
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        assert list(validator.iter_errors(wrong)), path


def test_every_key_of_a_connector_has_a_known_prefix() -> None:
    for connector in get_all_connectors().values():  # type: ignore[no-untyped-call]
        for key in getattr(getattr(connector, "data_cls", None), "__annotations__", {}):
            assert key.startswith(CONNECTOR_PREFIXES), key
