"""Names of groups that mean something to a feature. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from underlay.settings.problem import Problem, shown

#: group -> what its hosts are
ROLES = {
    "control_plane": "hosts with /etc/kubernetes/admin.conf",
    "etcd": "hosts that run etcd, where they are not the control plane",
    "workers": "nodes that run pods",
    "hubs": "WireGuard hubs",
    "spokes": "WireGuard spokes",
    "gateways": "ends of IPsec links",
    "route_reflectors": "Calico BGP route reflectors",
}


def misspelt_groups(with_hosts: Iterable[str], with_data: Iterable[str]) -> Iterator[Problem]:
    """Groups that look like another one: nobody would get their settings.

    A group without hosts that resembles nothing is fine: group_data may serve several inventories.
    """
    hosts = set(with_hosts)
    for name in sorted({*hosts, *with_data} - set(ROLES) - {"all"}):
        candidates = [*ROLES] if name in hosts else [*ROLES, *(hosts - {name})]
        close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.8)
        if close:
            yield Problem(
                "", f"group {name}", "no feature and no host knows this group", shown(name),
                f"did you mean {close[0]!r}?",
            )  # fmt: skip
