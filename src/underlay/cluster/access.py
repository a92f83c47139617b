"""Ways to an API server: a kubeconfig on this computer, or the admin.conf of a control-plane host.

The rule: TLS is always verified, and a private key read over SSH never reaches a file on a disk.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
import yaml

from underlay.cluster.api import Api
from underlay.errors import ClusterError
from underlay.settings.problem import shown


def from_kubeconfig(path: Path, context: str | None = None) -> Api:
    """The API server of a kubeconfig file, by the official client: tokens, exec plugins and all."""
    # the client takes a second to import, which a run without it must not pay
    from kubernetes import config
    from kubernetes.config.config_exception import ConfigException

    if not _is_file(path):
        raise ClusterError(
            f"cluster.kubeconfig: no such file (got {shown(str(path))}); correct the path"
        )
    try:
        client: Any = config.new_client_from_config(str(path), context=context)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise ClusterError(f"cluster.kubeconfig {path}: {error}; correct the file") from error

    def headers() -> Mapping[str, str]:
        found: dict[str, str] = dict(client.default_headers)
        client.update_params_for_auth(found, [], ["BearerToken"], "", "", None)
        return found

    return Api(client.configuration.host, client.rest_client.pool_manager, headers)


def from_admin_conf(text: str, *, port: int, where: str) -> Api:
    """The API server of kubeadm's admin.conf, reached through 127.0.0.1:`port`.

    text: the file's content; where: what an error names, as `cp1: /etc/kubernetes/admin.conf`.
    """
    cluster, user = _current(text, where)
    host = urlsplit(cluster["server"]).hostname or ""
    context = ssl.create_default_context(cadata=_pem(cluster, "certificate-authority-data", where))
    _load_key(
        context, _pem(user, "client-certificate-data", where), _pem(user, "client-key-data", where)
    )
    pool = urllib3.PoolManager(
        ssl_context=context,
        server_hostname=None if _is_address(host) else host,
        assert_hostname=cluster.get("tls-server-name") or host,
    )
    return Api(f"https://127.0.0.1:{port}", pool)


def server_of(text: str, where: str) -> tuple[str, int]:
    """Host and port that an admin.conf names, as seen from the control-plane host."""
    cluster, _ = _current(text, where)
    parts = urlsplit(str(cluster["server"]))
    if parts.hostname is None:
        raise ClusterError(
            f"{where}: no server address (got {cluster['server']!r}); renew the file"
        )
    return parts.hostname, parts.port or 443


def _current(text: str, where: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The cluster and the user of the current context."""
    try:
        found = yaml.safe_load(text)
        context = _named(found["contexts"], found["current-context"])["context"]
        cluster = _named(found["clusters"], context["cluster"])["cluster"]
        user = _named(found["users"], context["user"])["user"]
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        # the text holds a private key: nothing of it may be in the message
        raise ClusterError(f"{where}: not a kubeconfig; renew it with kubeadm") from error
    return cluster, user


def _named(entries: Any, name: str) -> Any:
    return next(entry for entry in entries if entry["name"] == name)


def _pem(part: Mapping[str, Any], key: str, where: str) -> str:
    if key not in part:
        raise ClusterError(f"{where}: has no {key}; set cluster.kubeconfig to a kubeconfig instead")
    return base64.b64decode(part[key]).decode()


def _load_key(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The ssl module reads keys from files only: give it one that exists in memory alone."""
    number = os.memfd_create("underlay", os.MFD_CLOEXEC)
    try:
        os.write(number, f"{certificate}\n{key}".encode())
        context.load_cert_chain(f"/proc/self/fd/{number}")
    finally:
        os.close(number)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _is_file(path: Path) -> bool:
    """Whether it is there; what cannot be a path at all is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
