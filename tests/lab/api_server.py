"""A real API server on loopback: etcd and kube-apiserver as the lab has them, nothing else.

No controller runs: a DaemonSet never gets pods, and a namespace that is deleted stays until
somebody finalizes it. That is what a change waits for, and what takes it back.
UNDERLAY_TEST_KUBERNETES names a folder with the binaries of another release.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from underlay.cluster import Api
from underlay.lab.kubernetes.binaries import binaries
from underlay.lab.kubernetes.etcd import etcd
from underlay.lab.progress import clock


@contextmanager
def api_server(folder: Path) -> Iterator[Api]:
    """The API of a server that lives as long as the block; folder: for its data."""
    say = clock()
    given = os.environ.get("UNDERLAY_TEST_KUBERNETES")
    programs = binaries(Path(given) if given else None, say, install=True)
    token = secrets.token_hex(16)
    store, peers, port = _ports(3)
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    urls = f"http://127.0.0.1:{store}", f"http://127.0.0.1:{peers}"
    commands: list[list[str | Path]] = [
        [
            etcd(say), "--data-dir", folder / "etcd", "--listen-client-urls", urls[0],
            "--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1],
            "--initial-advertise-peer-urls", urls[1], "--initial-cluster", f"default={urls[1]}",
        ],
        [
            programs.path("kube-apiserver"), f"--etcd-servers={urls[0]}",
            "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1", f"--secure-port={port}",
            f"--cert-dir={folder}", f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
        ],
    ]  # fmt: skip
    running = []
    try:
        for command in commands:
            log = (folder / f"{Path(command[0]).name}.log").open("w")
            running.append(
                subprocess.Popen([str(w) for w in command], stdout=log, stderr=log, cwd=folder)
            )
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
        api = Api(f"https://127.0.0.1:{port}", pool, lambda: {"Authorization": f"Bearer {token}"})
        _wait(api, running, folder)
        yield api
    finally:
        for process in reversed(running):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(api: Api, running: list[subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + 180
    while not api.ready():
        logs = "\n".join(path.read_text()[-1500:] for path in folder.glob("*.log"))
        assert all(process.poll() is None for process in running), logs
        assert time.monotonic() < deadline, logs
        time.sleep(1)


def _ports(count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found
