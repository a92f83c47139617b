"""In which steps many hosts are changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from underlay.features.kube_proxy.settings import Rollout
from underlay.rolling import batch_size, batches


@pytest.mark.parametrize(
    ("share", "count", "most", "wanted"),
    [(2, 10, None, 2), ("25%", 10, None, 2), ("25%", 3, None, 1), ("100%", 7, None, 7),
     ("50%", 100, 8, 8), (4, 10, 8, 4)],
)  # fmt: skip
def test_a_share_is_rounded_down_and_at_least_one(
    share: int | str, count: int, most: int | None, wanted: int
) -> None:
    assert batch_size(share, count, most) == wanted


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_every_host_once_in_its_order(count: int, canary: int, size: int) -> None:
    hosts = [str(number) for number in range(count)]
    found = batches(hosts, canary=canary, size=size)
    assert [host for batch in found for host in batch] == hosts
    assert len(found[0]) == min(canary, count)
    assert all(len(batch) <= size for batch in found[1:])


@pytest.mark.parametrize("batch", [0, -1, "0%", "101%", "25", "a%", "", "1 %"])
def test_what_is_no_share_is_refused(batch: object) -> None:
    with pytest.raises(ValidationError, match="not a"):
        Rollout.model_validate({"batch": batch})
