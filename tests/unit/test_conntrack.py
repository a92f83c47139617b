"""Table sizes: our own, and kube-proxy's by its version."""

from __future__ import annotations

import pytest

from underlay import conntrack
from underlay.conntrack import CAP, kube_proxy_table_size


@pytest.mark.parametrize(
    ("cores", "memory", "size"),
    [(1, 8 << 30, 131072), (64, 256 << 30, 2097152), (8, 1 << 30, 199728), (1, 1 << 20, 2048)],
)
def test_table_size_is_bounded_by_memory(cores: int, memory: int, size: int) -> None:
    assert conntrack.table_size(cores=cores, memory_bytes=memory) == size


def test_buckets_are_whole_pages() -> None:
    assert conntrack.buckets(1_000_000) == 250368
    assert conntrack.rounded(512) == 512


@pytest.mark.parametrize(
    ("version", "cores", "max_per_core", "minimum", "size"),
    [
        pytest.param("v1.20.2", 2, 32768, 131072, 131072, id="the minimum on few cores"),
        pytest.param("v1.20.2", 8, 32768, 131072, 262144, id="cores times maxPerCore"),
        pytest.param("v1.35.9", 64, 32768, 131072, 2097152, id="before 1.36 no cap"),
        pytest.param("v1.36.0", 64, 32768, 131072, CAP, id="since 1.36 capped"),
        pytest.param("v1.36.0-beta.0", 64, 32768, 131072, CAP, id="the beta that brought it"),
        pytest.param("v1.37.1", 64, 32768, 131072, CAP, id="and after"),
        pytest.param("v1.36.0", 64, 32768, 2_000_000, CAP, id="a cap ignores the minimum"),
        pytest.param("v1.36.0", 64, 1000, 2_000_000, 2_000_000, id="an uncapped one does not"),
        pytest.param("v1.36.0", 32, 32768, 131072, CAP, id="just at the cap"),
        pytest.param("v1.35.0", 64, 0, 131072, None, id="0 leaves it alone, minimum too"),
        pytest.param("v1.36.0", 64, 0, 131072, None, id="0 leaves it alone in 1.36 too"),
        pytest.param("", 64, 32768, 131072, 2097152, id="an unknown version is an older one"),
        pytest.param("v2.0.0", 64, 32768, 131072, CAP, id="major counts before minor"),
    ],
)
def test_what_kube_proxy_computes(
    version: str, cores: int, max_per_core: int, minimum: int, size: int | None
) -> None:
    assert kube_proxy_table_size(version, cores, max_per_core, minimum) == size
