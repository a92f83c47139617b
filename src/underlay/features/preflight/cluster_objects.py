"""What the API server tells: who watches the cluster, and the objects of its CNI. Reads only.

The rule: what cannot be asked is an error of the view, never an empty answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from underlay.cluster import Api
from underlay.cluster.objects import CONFIG_MAP, DAEMON_SET, DEPLOYMENT, NODE, Kind
from underlay.errors import ClusterError
from underlay.features.preflight.scene import ClusterView

STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
DEFINITION = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions",
    namespaced=False,
)  # fmt: skip
#: Services that CoreDNS has by the usual ways of installing it, and its metrics behind the API.
COREDNS = ("kube-dns", "coredns")
METRICS = "/api/v1/namespaces/kube-system/services/{}:9153/proxy/metrics"

_CALICO = (
    "ippools", "felixconfigurations", "bgpconfigurations", "bgppeers", "bgpfilters",
    "clusterinformations", "ipamconfigs", "kubecontrollersconfigurations",
)  # fmt: skip
#: Objects that hold a CNI's configuration; those of a kind that the server does not know are none.
CONFIGURATION = (
    *(Kind("crd.projectcalico.org/v1", plural, plural, namespaced=False) for plural in _CALICO),
    *(
        Kind("operator.tigera.io/v1", plural, plural, namespaced=False)
        for plural in ("installations", "apiservers", "imagesets")
    ),
)
CONFIG_MAPS = ("kube-flannel-cfg", "calico-config", "kubernetes-services-endpoint", "kube-proxy")
#: Annotations of nodes that a CNI keeps its state in.
ANNOTATIONS = ("flannel.alpha.coreos.com/", "projectcalico.org/")


def view(api: Api) -> ClusterView:
    """Who watches; a question that is not allowed or not answered becomes the view's error."""
    try:
        names = [str(found["metadata"]["name"]) for found in api.list(DEFINITION)]
        for kind in (DEPLOYMENT, DAEMON_SET, STATEFUL_SET):
            names += [str(found["metadata"]["name"]) for found in api.list(kind)]
        return ClusterView(names=tuple(names), coredns=_coredns(api))
    except ClusterError as error:
        return ClusterView(error=str(error).splitlines()[0])


def _coredns(api: Api) -> str:
    """`read`, or why its metrics were not."""
    said = "there is no Service kube-dns or coredns"
    for name in COREDNS:
        status, text = api.request("GET", METRICS.format(name), timeout=10)
        if status == 200 and "coredns_build_info" in text:
            return "read"
        if status == 403:
            return "the user of this run may not read them through the API"
        if status != 404:
            said = f"Service {name} answers {status}"
    return said


def configuration(api: Api) -> dict[str, bytes]:
    """File name -> one object of the CNI's configuration, as `kubectl apply -f` takes it."""
    found = {}
    for kind in CONFIGURATION:
        for each in _known(api, kind):
            found[f"{kind.plural}/{each['metadata']['name']}.yaml"] = _file(each)
    for each in api.list(CONFIG_MAP):
        meta = each["metadata"]
        if meta["name"] in CONFIG_MAPS:
            path = f"configmaps/{meta['namespace']}/{meta['name']}.yaml"
            found[path] = _file({"apiVersion": "v1", "kind": "ConfigMap", **each})
    nodes = {str(each["metadata"]["name"]): _node(each) for each in api.list(NODE)}
    found["nodes.yaml"] = _text(nodes)
    return found


def _known(api: Api, kind: Kind) -> Iterator[dict[str, Any]]:
    status, text = api.request("GET", kind.path())
    if status == 404:
        return
    if status != 200:
        raise ClusterError(
            f"{kind.plural}: cannot list them ({status}); grant the role in docs/rbac.md"
        )
    answer = json.loads(text)
    version, name = answer["apiVersion"], str(answer["kind"]).removesuffix("List")
    for each in answer.get("items") or []:
        yield {"apiVersion": version, "kind": name, **each}


def _node(found: Mapping[str, Any]) -> dict[str, Any]:
    kept = found["metadata"].get("annotations") or {}
    return {
        "podCIDRs": found.get("spec", {}).get("podCIDRs") or [],
        "annotations": {key: kept[key] for key in sorted(kept) if key.startswith(ANNOTATIONS)},
    }


def _file(found: Mapping[str, Any]) -> bytes:
    """Without what the server fills in, and without what changes by itself."""
    meta = found["metadata"]
    kept = {key: meta[key] for key in ("name", "namespace", "labels", "annotations") if key in meta}
    annotations = {
        key: value
        for key, value in (kept.pop("annotations", None) or {}).items()
        if key != "kubectl.kubernetes.io/last-applied-configuration"
    }
    if annotations:
        kept["annotations"] = annotations
    rest = {key: value for key, value in found.items() if key not in ("metadata", "status")}
    return _text({**rest, "metadata": kept})


def _text(found: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(found), sort_keys=True).encode()
