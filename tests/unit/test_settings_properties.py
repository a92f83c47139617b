"""Whatever stands in an inventory, reading it ends in typed settings or in problems, never else.

Sections and settings are found from the code. A value is tried in surroundings that are valid, so
that it is what decides: bare ones, and those of the scenes in tests/hostile.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hostile.scenes import scene_of, scenes_of
from tests.hostile.walk import Place, accepted, bad, places

from underlay.features import all_rules, all_sections
from underlay.settings import RawHost, Section
from underlay.settings.models import parts
from underlay.settings.read import read_fleet, read_section

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


def _places(section: type[Section]) -> list[Place]:
    bases = [{}, *(dict(scene_of(name).base) for name in scenes_of(section))]
    return [place for base in bases for place in places(section, base)]


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
def test_every_setting_is_a_place(section: type[Section]) -> None:
    """As the reference of settings finds them, which goes another way through the models."""
    models = {"": section, **{f"{path}.": model for path, model in parts(section).items()}}
    settings = {f"{path}{name}" for path, model in models.items() for name in model.model_fields}
    # where there is no entry the walk makes one of this name
    found = {place.path.replace(".n1", ".NAME") for place in places(section, {})}
    missing = {
        name
        for name in settings
        if not any(path == name or path.startswith((f"{name}.", f"{name}[]")) for path in found)
    }
    assert missing == set()


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
def test_the_surroundings_are_valid(section: type[Section]) -> None:
    """In others, everything would be refused for something else."""
    for name in scenes_of(section):
        assert accepted(section, dict(scene_of(name).base)), name


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rules_across_hosts_end_in_problems_too(
    section: type[Section], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(scenes_of(section)))
    scene = scene_of(name)
    place: Place = data.draw(st.sampled_from(places(section, dict(scene.base))))
    value = data.draw(st.sampled_from(bad("do")) | PLAIN)
    raw = {**scene.others, section.KEY: place.fill(value)}
    hosts = [RawHost(host, ("all",), raw, {}) for host in (*scene.hosts, "-Zq", "a\nb")]
    fleet, problems = read_fleet(hosts, all_sections())
    problems += [problem for rule in all_rules() for problem in rule(fleet)]
    for problem in problems:
        assert str(problem).isprintable()


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_in_any_setting(section: type[Section], data: st.DataObject) -> None:
    place: Place = data.draw(st.sampled_from(_places(section)))
    key = place.path.endswith("KEY")
    _holds(section, place.fill(data.draw(st.text(max_size=40) if key else ANYTHING)))


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.KEY)
@given(raw=ANYTHING)
@settings(max_examples=30, deadline=None)
def test_any_value_as_a_section(section: type[Section], raw: Any) -> None:
    _holds(section, raw)
