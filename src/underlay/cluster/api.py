"""The few verbs of the Kubernetes API that deploys need, on plain dictionaries.

Plain JSON instead of the client's models: a model of one release drops the fields of another when
an object is read, changed and written back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3

from underlay.cluster.objects import Kind, kind_of
from underlay.errors import ApiSilentError, ClusterError, ConflictError, MissingError

#: An object as the API server gives it.
Object = dict[str, Any]

#: Owner of the fields that underlay applies.
FIELD_MANAGER = "underlay"

_REMEDIES = {
    401: "the credentials are not accepted; renew the kubeconfig",
    403: "the user may not do this; grant it the role in docs/rbac.md",
    404: "it does not exist; check the name and the namespace",
    409: "somebody else changed or owns it; look at its managedFields, then run again",
    422: "the API server finds the object invalid; its message says which field",
}


class Api:
    """One API server.

    base: `https://host:port`; pool: carries the TLS settings; headers: called for every request,
    so that a token that expires can be renewed.
    """

    def __init__(
        self, base: str, pool: urllib3.PoolManager, headers: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        self._base = base.rstrip("/")
        self._pool = pool
        self._headers = headers

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """One object, None when there is none of that name."""
        status, text = self.request("GET", kind.path(name, namespace))
        if status == 404:
            return None
        return _object(_checked("get", f"{kind.name} {name}", status, text))

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """One object; ClusterError when there is none."""
        status, text = self.request("GET", kind.path(name, namespace))
        return _object(_checked("get", f"{kind.name} {name}", status, text))

    def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind, by label and field selector; `namespace` None means everywhere."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        status, text = self.request("GET", kind.path(None, namespace), query=query)
        found = _object(_checked("list", kind.plural, status, text))
        return list(found.get("items") or [])

    def apply(
        self,
        found: Object,
        *,
        manager: str = FIELD_MANAGER,
        dry_run: bool = False,
        force: bool = True,
    ) -> Object:
        """Server-side apply of the fields given; the object as it is (would be) afterwards."""
        kind = kind_of(found["apiVersion"], found["kind"])
        meta = found["metadata"]
        query = {
            "fieldManager": manager,
            "force": "true" if force else "",
            "dryRun": "All" if dry_run else "",
        }
        status, text = self.request(
            "PATCH", kind.path(meta["name"], meta.get("namespace")), query=query,
            body=found, content_type="application/apply-patch+yaml",
        )  # fmt: skip
        what = f"{kind.name} {meta['name']}"
        owners = _owners(text) if status == 409 else ()
        if owners:
            raise ConflictError(what, owners)
        return _object(_checked("apply", what, status, text))

    def replace(self, kind: Kind, found: Object) -> Object:
        """Put an object as it is given in place of what is there now; without resourceVersion."""
        meta = found["metadata"]
        path = kind.path(meta["name"], meta.get("namespace"))
        status, text = self.request("PUT", path, query={"fieldManager": FIELD_MANAGER}, body=found)
        return _object(_checked("replace", f"{kind.name} {meta['name']}", status, text))

    def merge(
        self,
        kind: Kind,
        name: str,
        change: Object,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Object:
        """JSON merge patch (RFC 7396); with `metadata.resourceVersion` only if unchanged since."""
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        status, text = self.request(
            "PATCH", kind.path(name, namespace), query=query, body=change,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        return _object(_checked("patch", f"{kind.name} {name}", status, text))

    def create(self, kind: Kind, found: Object, namespace: str | None = None) -> Object:
        """Create an object; ClusterError when it is there already."""
        status, text = self.request("POST", kind.path(None, namespace), body=found)
        what = f"{kind.name} {found['metadata'].get('name', '')}".rstrip()
        return _object(_checked("create", what, status, text))

    def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str = "",
        version: str = "",
    ) -> None:
        """Delete an object; one that is gone is fine.

        uid: only that one of its name; version: only if nobody changed it since.
        """
        given = {"uid": uid, "resourceVersion": version}
        only = {key: value for key, value in given.items() if value}
        body: Object = {"preconditions": only} if only else {}
        status, text = self.request("DELETE", kind.path(name, namespace), body=body)
        if status not in (404, 409) or (status == 409 and not only):
            _checked("delete", f"{kind.name} {name}", status, text)

    def version(self) -> str:
        """The server's version, for example `v1.20.2`."""
        status, text = self.request("GET", "/version")
        return str(_object(_checked("get", "/version", status, text))["gitVersion"])

    def ready(self) -> bool:
        """Whether /readyz says exactly `ok`; any connection error is a no."""
        try:
            return self.request("GET", "/readyz", timeout=5) == (200, "ok")
        except ClusterError:
            return False

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: float = 30,
    ) -> tuple[int, str]:
        """Status and text of one request; ApiSilentError when there was no answer at all."""
        given = {name: value for name, value in (query or {}).items() if value}
        url = f"{self._base}{path}" + (f"?{urlencode(given)}" if given else "")
        headers = {"Accept": "application/json", **self._headers()}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body).encode()
        try:
            answer = self._pool.request(
                method, url, body=data, headers=headers,
                timeout=urllib3.Timeout(timeout), retries=urllib3.Retry(2, redirect=False),
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise ApiSilentError(
                f"Kubernetes API at {self._base}: no answer ({reason}); check that it runs, that"
                " its address is right and that its certificate is valid"
            ) from error
        return answer.status, answer.data.decode(errors="replace")


def _owners(text: str) -> tuple[tuple[str, str], ...]:
    """Who else owns which field, from the causes of a refused server-side apply."""
    try:
        causes = json.loads(text)["details"]["causes"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(
        (str(cause.get("message", "")).partition('"')[2].partition('"')[0], str(cause.get("field")))
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )


def _checked(verb: str, what: str, status: int, text: str) -> str:
    if 200 <= status < 300:
        return text
    try:
        message = str(json.loads(text).get("message", ""))
    except (ValueError, AttributeError):
        message = text.strip()[:200]
    remedy = _REMEDIES.get(status, "look at the log of the API server")
    kind = MissingError if status == 404 else ClusterError
    raise kind(f"{what}: cannot {verb} it ({status}: {message}); {remedy}")


def _object(text: str) -> Object:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ClusterError(f"Kubernetes API: not an object (got {text[:80]!r})")
    return found
