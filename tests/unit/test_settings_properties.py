"""Whatever stands in an inventory, reading it ends in typed settings or in problems, never else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hostile.walk import Place, places

from underlay.features import all_sections
from underlay.settings import Section
from underlay.settings.read import read_section

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.ip_addresses().map(str)
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=6,
)


def _holds(section: type[Section], raw: Any) -> None:
    found, problems = read_section("n1", raw, section)
    assert (found is None) == bool(problems)
    for problem in problems:
        assert problem.path.split(".")[0] == section.KEY
        assert problem.what
        assert problem.do
        assert str(problem).isprintable()
    if found is not None:
        again, _ = read_section("n1", found.model_dump(), section)
        assert again == found, "what was read is what it says"


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_in_any_setting(section: type[Section], data: st.DataObject) -> None:
    place: Place = data.draw(st.sampled_from(places(section, {})))
    key = place.path.endswith("KEY")
    _holds(section, place.fill(data.draw(st.text(max_size=40) if key else ANYTHING)))


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
@given(raw=ANYTHING)
@settings(max_examples=30, deadline=None)
def test_any_value_as_a_section(section: type[Section], raw: Any) -> None:
    _holds(section, raw)
