"""The API server of the cluster that a pyinfra run is about, connected once per run."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakKeyDictionary

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from underlay import direct
from underlay.cluster.access import from_admin_conf, from_kubeconfig, server_of
from underlay.cluster.api import Api
from underlay.cluster.tunnel import Tunnel
from underlay.errors import ClusterError
from underlay.settings.cluster import Cluster

GROUP = "control_plane"

_lock = threading.Lock()
_found: WeakKeyDictionary[Inventory, Api] = WeakKeyDictionary()
_read: WeakKeyDictionary[Host, str] = WeakKeyDictionary()


def reading(host: Host, settings: Cluster) -> str | None:
    """Shell text that reads what `api_of` needs of this host, for a command that reads more.

    None when this host is not the one that will be asked. What it prints is a private key: it goes
    to `read` and nowhere else.
    """
    if settings.kubeconfig is not None:
        return None
    first = next((each for each in host.state.inventory if GROUP in each.groups), None)
    return f"cat -- {shlex.quote(settings.admin_conf)}" if host is first else None


def read(host: Host, text: str) -> None:
    """Keep what `reading` printed until `api_of` wants it; nothing printed is no such file."""
    _read[host] = text


def api_of(state: State, settings: Cluster) -> Api:
    """The API server; ClusterError says what was tried. Deploy bodies of all hosts may call it."""
    with _lock:
        found = _found.get(state.inventory)
        if found is None:
            found = _connect(state, settings)
            _found[state.inventory] = found
    return found


def _connect(state: State, settings: Cluster) -> Api:
    if settings.kubeconfig is not None:
        return from_kubeconfig(Path(settings.kubeconfig).expanduser(), settings.context)
    tried = []
    for host in _control_planes(state):
        try:
            return _over_ssh(host, settings.admin_conf)
        except ClusterError as error:
            tried.append(str(error))
    if not tried:
        raise ClusterError(
            f"cluster: no host in the group {GROUP} and no kubeconfig; set cluster.kubeconfig, or"
            " name the control-plane hosts in the inventory"
        )
    raise ClusterError("cluster: no control-plane host gave a way in\n  " + "\n  ".join(tried))


def _control_planes(state: State) -> Iterator[Host]:
    """Hosts of the group in inventory order, connected; `--limit` may have left them out."""
    for host in state.inventory:
        if GROUP not in host.groups:
            continue
        if not host.connected:
            host.connect(reason="for the Kubernetes API", show_errors=False)
        if host.connected:
            yield host


def _over_ssh(host: Host, path: str) -> Api:
    where = f"{host.name}: {path}"
    client = getattr(host.connector, "client", None)
    transport = client.get_transport() if client is not None else None
    if transport is None:
        raise ClusterError(f"{host.name}: not reached over SSH; set cluster.kubeconfig instead")
    text = _read.pop(host) if host in _read else _file(host, path)
    if not text.strip():
        raise ClusterError(f"{where}: cannot be read; is this host a kubeadm control plane?")
    address, port = server_of(text, where)
    return from_admin_conf(text, port=Tunnel(transport, address, port).port, where=where)


def _file(host: Host, path: str) -> str:
    """The text of a file, "" when it cannot be read."""
    # the file holds a private key: its text must not be printed at any verbosity
    done, output = direct.run_words(host, "cat", "--", path)
    return str(output.stdout) if done else ""
