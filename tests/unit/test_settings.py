"""Settings: every problem of every host at once, with the path, the value and the remedy."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import Field, field_validator

from underlay.errors import SettingsError
from underlay.settings import Part, Problem, RawHost, Section, refuse, shown
from underlay.settings.read import read_fleet


class Options(Part):
    scheduler: Literal["rr", "wrr"] = "rr"
    period: int = Field(default=30, ge=1)


class Proxy(Section):
    KEY: ClassVar[str] = "proxy"
    mode: Literal["iptables", "ipvs"] = "iptables"
    options: Options = Options()
    name: str = "a"

    @field_validator("name")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 3:
            raise ValueError("longer than 3 characters; shorten it")
        return value


def _problems(data: dict[str, object]) -> list[str]:
    _, problems = read_fleet([RawHost("n1", ("all",), {"proxy": data}, {})], [Proxy])
    return [str(problem) for problem in problems]


def test_valid_settings_and_defaults() -> None:
    hosts = [RawHost("n1", ("w",), {"proxy": {"mode": "ipvs"}}, {}), RawHost("n2", (), {}, {})]
    fleet, problems = read_fleet(hosts, [Proxy])
    assert problems == []
    assert fleet.hosts["n1"].section(Proxy).mode == "ipvs"
    assert fleet.hosts["n1"].names(Proxy)
    assert fleet.hosts["n2"].section(Proxy).options.period == 30
    assert not fleet.hosts["n2"].names(Proxy)
    assert [host.name for host in fleet.in_group("w")] == ["n1"]


def test_every_problem_is_listed() -> None:
    assert _problems(
        {"mode": "ipvs2", "options": {"period": 0, "shceduler": "rr"}, "name": "long!"}
    ) == [
        "n1: proxy.mode: input should be 'iptables' or 'ipvs' (got 'ipvs2'); correct the value",
        "n1: proxy.options.period: input should be greater than or equal to 1 (got 0);"
        " correct the value",
        "n1: proxy.options.shceduler: no such setting (got 'rr'); did you mean 'scheduler'?",
        "n1: proxy.name: longer than 3 characters (got 'long!'); shorten it",
    ]


def test_a_section_must_be_a_mapping() -> None:
    _, problems = read_fleet([RawHost("n1", (), {"proxy": "ipvs"}, {})], [Proxy])
    assert [problem.what for problem in problems] == ["a section is a mapping of settings"]


def test_refuse_names_all_and_does_nothing_without_problems() -> None:
    refuse([])
    problem = Problem("n1", "proxy.mode", "wrong", "'x'", "write y")
    with pytest.raises(SettingsError, match=r"2 problems in the settings.*\n.*\n.*"):
        refuse([problem, Problem("n2", "proxy.mode", "wrong", None, "write y"), problem])


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 500)) == 80
