"""A mistake in a file of a group is one problem, however many hosts are in the group."""

from __future__ import annotations

from underlay.settings.problem import Problem, by_file


def _problem(host: str) -> Problem:
    return Problem(host, "sysctl.profile", "no such setting", "'x'", "did you mean 'profiles'?")


def test_one_file_is_one_problem_with_every_host_named() -> None:
    sources = {name: {"sysctl": "group_data/workers.py"} for name in ("w1", "w2")}
    found = by_file([_problem("w1"), _problem("w2")], sources)
    assert [str(problem) for problem in found] == [
        "group_data/workers.py (w1, w2): sysctl.profile: no such setting (got 'x');"
        " did you mean 'profiles'?"
    ]


def test_hosts_own_data_stay_apart() -> None:
    sources = {name: {"sysctl": "host"} for name in ("w1", "w2")}
    found = by_file([_problem("w1"), _problem("w2")], sources)
    assert [problem.host for problem in found] == ["w1", "w2"]


def test_two_files_are_two_problems() -> None:
    sources = {"w1": {"sysctl": "group_data/a.py"}, "w2": {"sysctl": "group_data/b.py"}}
    found = by_file([_problem("w1"), _problem("w2")], sources)
    assert [problem.host for problem in found] == ["group_data/a.py (w1)", "group_data/b.py (w2)"]


def test_many_hosts_are_counted() -> None:
    names = [f"w{number}" for number in range(500)]
    sources = {name: {"sysctl": "group_data/all.py"} for name in names}
    (found,) = by_file([_problem(name) for name in names], sources)
    assert found.host == "group_data/all.py (w0, w1, w2, w3, w4 and 495 more)"
