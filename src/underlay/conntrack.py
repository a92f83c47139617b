"""The size of the connection tracking table: ours, and what kube-proxy makes of it. Pure.

An entry of `struct nf_conn` with its extensions takes about 320 bytes of slab on 64 bit; a bucket
is 8 bytes, and each entry is hashed twice.
"""

from __future__ import annotations

import re

ENTRY_BYTES = 320
BUCKET_BYTES = 8

#: kube-proxy's own formula, KubeProxyConfiguration conntrack.maxPerCore and conntrack.min
MAX_PER_CORE = 32_768
MINIMUM = 131_072

#: From this release on kube-proxy caps what it scales by cores (kubernetes #137002).
CAPPED_SINCE = (1, 36)
CAP = 1_048_576

#: A full table may take at most this part of memory.
MEMORY_SHARE = 16

#: A size that is off by less than this part stays: every 6 KiB of memory are an entry, and another
#: kernel or device takes some.
SETTLED_SHARE = 64

#: The kernel rounds buckets up to whole pages of 8-byte heads (nf_ct_alloc_hashtable).
BUCKETS_STEP = 512


def table_size(*, cores: int, memory_bytes: int) -> int:
    """`nf_conntrack_max`: kube-proxy's formula, at most a sixteenth of memory when full."""
    wanted = max(cores * MAX_PER_CORE, MINIMUM)
    bound = memory_bytes // MEMORY_SHARE // (ENTRY_BYTES + 2 * BUCKET_BYTES)
    return max(min(wanted, bound), 4 * BUCKETS_STEP)


def settled(size: int, earlier: int | None) -> int:
    """The size of an earlier run where it is as good as the one computed now."""
    if earlier is None or abs(earlier - size) > size // SETTLED_SHARE:
        return size
    return earlier


def kube_proxy_table_size(version: str, cores: int, max_per_core: int, minimum: int) -> int | None:
    """What kube-proxy computes for `nf_conntrack_max` at its start; None when it leaves it alone.

    `max_per_core` 0 leaves the key alone and takes `minimum` with it. Since 1.36 the product is
    capped before `minimum` is looked at, so a capped machine gets the cap whatever `minimum` says.
    A version that cannot be read counts as an older one.
    """
    if max_per_core <= 0:
        return None
    scaled = max_per_core * cores
    if scaled > CAP and _release(version) >= CAPPED_SINCE:
        return CAP
    return max(scaled, minimum)


def _release(version: str) -> tuple[int, int]:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def buckets(maximum: int) -> int:
    """`nf_conntrack_buckets` for a table: a quarter of it, as the kernel will round it."""
    return rounded(maximum // 4)


def rounded(count: int) -> int:
    """The bucket count that the kernel makes of `count`."""
    return -(-count // BUCKETS_STEP) * BUCKETS_STEP
