"""The role in docs/rbac/read-only.yaml is enough for what only reads, and no more."""

from __future__ import annotations

import json
from typing import Any

import pytest
import urllib3
from tests.fake.rbac import Right, asked, granted

from underlay.advice.model import Situation
from underlay.cluster import Api
from underlay.errors import ClusterError
from underlay.features.advising import with_cluster
from underlay.features.preflight.cluster_objects import configuration, view

FILE = "read-only.yaml"


class Server(Api):
    """An API server with everything in it that is asked for, and exactly these rights."""

    def __init__(self, rights: set[Right]) -> None:
        super().__init__("https://192.0.2.1", urllib3.PoolManager())
        self.rights = rights
        self.used: set[Right] = set()

    def request(self, method: str, path: str, **_: Any) -> tuple[int, str]:
        """Answer, or 403."""
        found = {right for right in self.rights if right.allows(*asked(method, path))}
        self.used |= found
        if not found:
            return 403, '{"message": "forbidden"}'
        if path.endswith("/metrics"):
            return (200, "coredns_build_info") if "/coredns:" in path else (404, "")
        if path == "/version":
            return 200, '{"gitVersion": "v1.34.0"}'
        return 200, json.dumps({"apiVersion": "v1", "kind": "XList", "items": [], "data": {}})


def read(server: Server) -> list[str]:
    """A pre-flight, a backup and advice; what was refused."""
    refused = []
    found = view(server)
    if found.error or found.coredns != "read":
        refused.append(found.error or found.coredns)
    try:
        configuration(server)
    except ClusterError as error:
        refused.append(str(error))
    return [*refused, *with_cluster(Situation(nodes=1), server).notes]


def test_the_role_is_enough_and_all_of_it_is_used() -> None:
    server = Server(granted(FILE))
    assert read(server) == []
    assert server.used == server.rights
    assert {right.verb for right in server.rights} == {"get", "list"}


@pytest.mark.parametrize("taken", sorted(str(right) for right in granted(FILE)))
def test_what_is_taken_from_it_is_missed(taken: str) -> None:
    found = read(Server(granted(FILE, without=taken)))
    # the first name of two that CoreDNS may have is asked too
    assert found, taken
