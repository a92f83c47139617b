"""Where Calico's BGP objects are written: the API it serves, calicoctl, or its storage itself.

The rule: the first of these that is there is used. The storage form (`crd.projectcalico.org/v1`) is
checked by nobody and no documented way, so its use is always said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from underlay.cluster import Api, Kind, Object
from underlay.errors import ClusterError

V3, STORAGE = "projectcalico.org/v3", "crd.projectcalico.org/v1"
#: The one BGPConfiguration that holds for every node; it need not exist.
DEFAULT = "default"

#: Runs `calicoctl` with these words and this standard input; standard output.
Calicoctl = Callable[[tuple[str, ...], str], str]


def kind(name: str, version: str) -> Kind:
    """BGPPeer, BGPConfiguration or CalicoNodeStatus in one of the two versions."""
    plural = f"{name.lower()}es" if name.endswith("s") else f"{name.lower()}s"
    return Kind(version, name, plural, namespaced=False)


def served(api: Api, version: str, plural: str) -> bool:
    """Whether the API server knows objects of that kind and answers for them."""
    status, text = api.request("GET", f"/apis/{version}")
    if status != 200:
        return False
    resources = json.loads(text).get("resources") or []
    return any(entry.get("name") == plural for entry in resources)


class Store(Protocol):
    """What a conversion reads and writes.

    how: for people; group: API group that the user needs rights in, "" for none.
    """

    how: str
    group: str

    def peers(self) -> dict[str, dict[str, Any]]:
        """Every BGPPeer's spec by name."""

    def configuration(self) -> dict[str, Any]:
        """The spec of the BGPConfiguration `default`; {} when there is none."""

    def put_peer(self, name: str, spec: Mapping[str, Any]) -> None:
        """Make a BGPPeer what it should be."""

    def drop_peer(self, name: str) -> None:
        """Delete a BGPPeer; one that is gone is fine."""

    def set_mesh(self, on: bool) -> None:
        """Write nodeToNodeMeshEnabled and nothing else."""


class ApiStore:
    """Objects through the API server."""

    def __init__(self, api: Api, version: str) -> None:
        self._api = api
        self._peer = kind("BGPPeer", version)
        self._configuration = kind("BGPConfiguration", version)
        self.group = version.partition("/")[0]
        self.how = version
        if version == STORAGE:
            self.how += " itself, as a last resort: nobody checks what is written there"

    def peers(self) -> dict[str, dict[str, Any]]:
        """Every BGPPeer's spec by name."""
        found = self._api.list(self._peer)
        return {entry["metadata"]["name"]: dict(entry.get("spec") or {}) for entry in found}

    def configuration(self) -> dict[str, Any]:
        """The spec of the BGPConfiguration `default`."""
        found = self._api.find(self._configuration, DEFAULT)
        return dict((found or {}).get("spec") or {})

    def put_peer(self, name: str, spec: Mapping[str, Any]) -> None:
        """Create it, or replace its spec."""
        found = self._api.find(self._peer, name)
        if found is None:
            self._api.create(self._peer, _object(self._peer, name, spec))
            return
        gone = dict.fromkeys(set(found.get("spec") or {}) - set(spec))
        meta = {"resourceVersion": found["metadata"]["resourceVersion"]}
        self._api.merge(self._peer, name, {"metadata": meta, "spec": {**gone, **spec}})

    def drop_peer(self, name: str) -> None:
        """Delete it."""
        self._api.delete(self._peer, name)

    def set_mesh(self, on: bool) -> None:
        """Create the configuration, or change the one field if nobody else changed it since."""
        spec = {"nodeToNodeMeshEnabled": on}
        found = self._api.find(self._configuration, DEFAULT)
        if found is None:
            self._api.create(self._configuration, _object(self._configuration, DEFAULT, spec))
            return
        meta = {"resourceVersion": found["metadata"]["resourceVersion"]}
        self._api.merge(self._configuration, DEFAULT, {"metadata": meta, "spec": spec})


class CalicoctlStore:
    """Objects through calicoctl on a control-plane host."""

    def __init__(self, run: Calicoctl, where: str) -> None:
        self._run = run
        self.group = ""
        self.how = f"calicoctl on {where}"

    def peers(self) -> dict[str, dict[str, Any]]:
        """Every BGPPeer's spec by name."""
        found = self._read("bgpPeer")
        return {entry["metadata"]["name"]: dict(entry.get("spec") or {}) for entry in found}

    def configuration(self) -> dict[str, Any]:
        """The spec of the BGPConfiguration `default`."""
        return dict((self._default() or {}).get("spec") or {})

    def put_peer(self, name: str, spec: Mapping[str, Any]) -> None:
        """Create it, or replace it."""
        self._apply(_object(kind("BGPPeer", V3), name, spec))

    def drop_peer(self, name: str) -> None:
        """Delete it."""
        self._run(("delete", "bgpPeer", name, "--skip-not-exists"), "")

    def set_mesh(self, on: bool) -> None:
        """Apply the configuration as it was read, with its resourceVersion, and the one field."""
        found = self._default() or _object(kind("BGPConfiguration", V3), DEFAULT, {})
        self._apply({**found, "spec": {**(found.get("spec") or {}), "nodeToNodeMeshEnabled": on}})

    def _default(self) -> Object | None:
        found = self._read("bgpConfiguration")
        return next((entry for entry in found if entry["metadata"]["name"] == DEFAULT), None)

    def _read(self, what: str) -> list[Object]:
        text = self._run(("get", what, "--output", "json"), "")
        try:
            return list(json.loads(text)["items"])
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(
                f"calicoctl get {what}: no list of objects (got {text[:80]!r}); run it by hand"
            ) from error

    def _apply(self, found: Object) -> None:
        self._run(("apply", "--filename", "-"), json.dumps(found))


def _object(of: Kind, name: str, spec: Mapping[str, Any]) -> Object:
    meta = {"name": name}
    # the storage form and v3 have the same spec for these kinds
    return {"apiVersion": of.version, "kind": of.name, "metadata": meta, "spec": dict(spec)}


def choose(api: Api, calicoctl: Callable[[], tuple[Calicoctl, str] | None]) -> Store:
    """The best way that is there; calicoctl: looks for it on a control-plane host when asked."""
    if served(api, V3, "bgppeers"):
        return ApiStore(api, V3)
    stored = served(api, STORAGE, "bgppeers")
    found = calicoctl()
    if found is not None:
        return CalicoctlStore(*found)
    if stored:
        return ApiStore(api, STORAGE)
    raise ClusterError(
        f"Kubernetes API: serves neither {V3} nor {STORAGE}; install Calico with its API server, or"
        " put calicoctl on a control-plane host"
    )
