"""What is said about settings is what the models are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import Field
from pyinfra.api.connectors import get_all_connectors

from underlay.features import all_sections
from underlay.settings import Part, Section
from underlay.settings.keys import CONNECTOR_PREFIXES
from underlay.settings.meaning import about, meanings, unexplained
from underlay.settings.models import parts
from underlay.settings.reference import markdown, section_lines
from underlay.settings.schema import inventory_schema

ROOT = Path(__file__).resolve().parent.parent.parent
STALE = "differs from the models; run `make reference`"


class Inner(Part):
    """`thing` of SomeObject; None leaves it."""

    sync_period: int | None = Field(default=None, ge=1, le=9)


class Row(Part):
    """One row.

    key: what is looked for, as `a: b` too; other, third: both; with two clauses.
    """

    key: str
    other: tuple[int, ...] = (1, 2)
    third: dict[str, Inner] = Field(default_factory=dict)


class Sample(Section):
    """A sample. It has two sentences.

    rows: a table, `x|y`.
    """

    KEY: ClassVar[str] = "sample"

    rows: tuple[Row, ...] = ()
    mode: Literal["a", "b"] = "a"
    inner: Inner = Inner()


def test_meanings_are_those_of_the_docstring() -> None:
    assert about(Row) == "One row."
    assert meanings(Row) == {
        "key": "what is looked for, as `a: b` too",
        "other": "both; with two clauses",
        "third": "both; with two clauses",
    }
    assert unexplained(Row) == []
    assert unexplained(Sample) == ["mode", "inner"]
    assert unexplained(Inner) == [], "it mirrors an object whose own documentation says it"
    assert about(Sample) == "A sample. It has two sentences."


def test_the_reference_has_type_default_range_and_meaning() -> None:
    assert set(parts(Sample)) == {"rows[]", "rows[].third.NAME", "inner"}
    text = "\n".join(section_lines(Sample))
    for row in (
        "## sample",
        "| `rows` | list of settings below | `[]` |  | a table, `x\\|y` |",
        '| `mode` | `a` or `b` | `"a"` |  |  |',
        "### sample.rows[]",
        "| `key` | text | required |  | what is looked for, as `a: b` too |",
        "| `other` | list of whole number | `[1, 2]` |  | both; with two clauses |",
        "### sample.rows[].third.NAME",
        "| `sync_period` | whole number | none | 1 to 9 | `syncPeriod` there |",
    ):
        assert row in text.splitlines(), row


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
def test_every_setting_is_explained(section: type[Section]) -> None:
    for path, model in {"": section, **parts(section)}.items():
        assert about(model), f"{model.__name__} says not what it is"
        missing = unexplained(model)
        assert not missing, (
            f"{section.KEY}.{path}: the docstring of {model.__name__} does not explain"
            f" {', '.join(missing)}; write `name: meaning; other: meaning.`"
        )


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
