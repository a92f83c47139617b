"""The cluster as a pre-flight and a backup see it, from an API server that answers by HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3
import yaml

from underlay.cluster import Api
from underlay.errors import ClusterError
from underlay.features.preflight.cluster_objects import METRICS, configuration, view
from underlay.features.preflight.scene import ClusterView
from underlay.features.preflight.snapshot import object_differences

CALICO = "/apis/crd.projectcalico.org/v1"
POOL = {
    "metadata": {
        "name": "default", "uid": "1", "resourceVersion": "7", "managedFields": [{"manager": "x"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    },
    "spec": {"cidr": "10.244.0.0/16"},
}  # fmt: skip


def _named(*names: str) -> dict[str, Any]:
    return {"items": [{"metadata": {"name": name}} for name in names]}


def _answers() -> dict[str, Any]:
    """Path -> status or text or object; a path that is not there is 404."""
    return {
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": _named(
            "prometheuses.monitoring.coreos.com"
        ),
        "/apis/apps/v1/deployments": _named("kube-state-metrics"),
        "/apis/apps/v1/daemonsets": _named("prometheus-node-exporter"),
        "/apis/apps/v1/statefulsets": _named(),
        METRICS.format("coredns"): "coredns_build_info{version=\"1.12\"} 1",
        f"{CALICO}/ippools": {
            "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPoolList", "items": [POOL],
        },
        "/api/v1/configmaps": {"items": [
            {"metadata": {"name": "kube-flannel-cfg", "namespace": "kube-flannel"},
             "data": {"net-conf.json": "{}"}},
            {"metadata": {"name": "other", "namespace": "default"}, "data": {"secret": "no"}},
        ]},
        "/api/v1/nodes": {"items": [{
            "metadata": {"name": "w1", "annotations": {
                "flannel.alpha.coreos.com/public-ip": "192.0.2.1", "else": "x"}},
            "spec": {"podCIDRs": ["10.244.1.0/24"]},
        }]},
    }  # fmt: skip


@contextmanager
def _server(answers: Mapping[str, Any]) -> Iterator[Api]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0], 404)
            status = found if isinstance(found, int) else 200
            text = found if isinstance(found, str) else json.dumps(found)
            body = b'{"message": "said no"}' if status != 200 else text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """No line per request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Api(f"http://127.0.0.1:{server.server_address[1]}", urllib3.PoolManager())
    finally:
        server.shutdown()
        server.server_close()


def test_a_watched_cluster_is_seen() -> None:
    with _server(_answers()) as api:
        found = view(api)
    assert found == ClusterView(
        "",
        ("prometheuses.monitoring.coreos.com", "kube-state-metrics", "prometheus-node-exporter"),
        "read",
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "the user of this run may not read them through the API"),
        (503, "Service coredns answers 503"),
        (404, "there is no Service kube-dns or coredns"),
    ],
)
def test_metrics_that_are_not_read_have_a_reason(status: int, said: str) -> None:
    with _server({**_answers(), METRICS.format("coredns"): status}) as api:
        assert view(api).coredns == said


def test_what_may_not_be_asked_is_an_error_of_the_view() -> None:
    with _server({**_answers(), "/apis/apps/v1/daemonsets": 403}) as api:
        found = view(api)
    assert found.names == ()
    assert "daemonsets: cannot list it (403: said no)" in found.error
    with _server(_answers()) as api:
        pass
    assert "no answer" in view(api).error


def test_a_backup_holds_what_can_be_applied_again() -> None:
    with _server(_answers()) as api:
        found = configuration(api)
    assert sorted(found) == [
        "configmaps/kube-flannel/kube-flannel-cfg.yaml", "ippools/default.yaml", "nodes.yaml",
    ]  # fmt: skip
    assert yaml.safe_load(found["ippools/default.yaml"]) == {
        "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": "default"},
        "spec": {"cidr": "10.244.0.0/16"},
    }  # fmt: skip
    assert yaml.safe_load(found["nodes.yaml"]) == {"w1": {
        "podCIDRs": ["10.244.1.0/24"],
        "annotations": {"flannel.alpha.coreos.com/public-ip": "192.0.2.1"},
    }}  # fmt: skip
    forbidden = {**_answers(), f"{CALICO}/bgppeers": 403}
    with _server(forbidden) as api, pytest.raises(ClusterError, match="bgppeers: cannot list"):
        configuration(api)


def test_what_a_restore_of_the_objects_would_do() -> None:
    before = {"ippools/a.yaml": b"x: 1\n", "ippools/b.yaml": b"", "nodes.yaml": b"n\n"}
    now = {"ippools/a.yaml": b"x: 2\n", "felixconfigurations/c.yaml": b"", "nodes.yaml": b"n\n"}
    assert list(object_differences(before, now)) == [
        "delete  felixconfigurations/c: it was not there",
        "apply   ippools/a: 2 lines differ",
        "apply   ippools/b: it is gone",
    ]
