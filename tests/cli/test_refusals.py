"""What must never end in exit 0, and must never be connected to before it is refused."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Project
from tests.cli.listener import Listener

#: One mistake of each kind, on different hosts and levels.
SIX = {
    "inventory.py": """
control_plane = [("cp1", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port},
    "kube_proxy": {{"ipvs": {{"scheduler": "round"}}}}}})]
worker = [("w1", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port},
    "sysctl": {{"values": {{"net.core.somaxconn": "many words"}}}}}}),
    ("w2", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port},
    "sysctl": {{"profile": ["kubernetes-node"]}}}})]
""",
    "group_data/all.py": 'kernel_module = {"sets": ["kubernetes"]}\n',
    "group_data/control_plane.py": 'kernel_modules = {"sets": ["kubernets"]}\n',
    "group_data/worker.py": "",
}
#: The remedy or the thing, one per mistake.
WORDS = (
    "kube_proxy.ipvs.scheduler",
    "net.core.somaxconn",
    "did you mean 'profiles'?",
    "kernel_module:",
    "kubernets",
    "worker",
)


def _six_mistakes(project: Project, listener: Listener) -> None:
    for name, text in SIX.items():
        project.write(name, text.format(port=listener.port) if name == "inventory.py" else text)
    for group in ("all", "workers"):
        path = project.folder / f"group_data/{group}.py"
        if group == "workers":
            path.unlink()


@pytest.mark.parametrize("command", ["settings", "deploy", "dry"])
def test_six_mistakes_are_six_problems_and_nobody_is_connected(
    project: Project, listener: Listener, command: str
) -> None:
    _six_mistakes(project, listener)
    done = {
        "settings": lambda: project.underlay("settings", "inventory.py"),
        "deploy": lambda: project.pyinfra("-y", "inventory.py", "deploys/sysctl.py"),
        "dry": lambda: project.pyinfra("--dry", "inventory.py", "deploys/ipvs_migrate.py"),
    }[command]()
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    for word in WORDS:
        assert word in text
    assert "6 problems in the settings" in text
    assert "Traceback" not in text
    assert listener.count == 0


def test_valid_settings_do_reach_the_host(project: Project, listener: Listener) -> None:
    host = f'{{"ssh_hostname": "127.0.0.1", "ssh_port": {listener.port}}}'
    project.write("inventory.py", f'workers = [("w1", {host})]\n')
    done = project.pyinfra("-y", "inventory.py", "deploys/sysctl.py")
    assert done.returncode != 0
    assert listener.count > 0


@pytest.mark.parametrize("dry", [(), ("--dry",)])
@pytest.mark.parametrize(
    ("inventory", "words", "said"),
    [
        ("missing.py", (), "no such file"),
        ("empty.py", (), "no host"),
        ("inventory.py", ("--limit", "nobody"), "nobody"),
    ],
)
def test_a_run_about_nobody_is_an_error(
    project: Project, inventory: str, words: tuple[str, ...], said: str, dry: tuple[str, ...]
) -> None:
    project.write("empty.py", "workers = []\n")
    done = project.pyinfra("-y", *dry, *words, inventory, "deploys/sysctl.py")
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("settings", "missing.py"), "no such file (got 'missing.py')"),
        (("settings", "empty.py"), "has no host"),
        (("settings", "inventory.py", "--host", "nobody"), "--host nobody: matches nobody"),
        (("sysctl-report", "missing.py"), "no such file (got 'missing.py')"),
        (("preflight", "empty.py"), "has no host"),
        (("verify", "inventory.py", "--host", "nobody"), "matches nobody"),
        (("preflight", "inventory.py", "--skip", "node/swap"), "a skipped check needs a reason"),
        (("preflight", "inventory.py", "--for", "calicoo"), "did you mean 'calico'?"),
        (("preflight", "inventory.py", "--skip", "a/b", "--reason", "x"), "no such check"),
        (("restore", "inventory.py"), "add --dry"),
        (("sysctl-report", "inventory.py", "--host", "nobody"), "matches nobody"),
    ],
)
def test_our_commands_refuse_nobody_with_exit_code_2(
    project: Project, words: tuple[str, ...], said: str
) -> None:
    project.write("empty.py", "workers = []\n")
    done = project.underlay(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_unreachable_host_is_exit_code_5(project: Project, listener: Listener) -> None:
    host = f'{{"ssh_hostname": "127.0.0.1", "ssh_port": {listener.port}}}'
    project.write("inventory.py", f'workers = [("w1", {host})]\n')
    done = project.underlay("sysctl-report", "inventory.py")
    assert done.returncode == 5
    assert "w1: not reachable" in done.stderr


@pytest.mark.parametrize("dry", [(), ("--dry",)])
def test_a_host_that_drops_out_fails_the_run(
    project: Project, listener: Listener, dry: tuple[str, ...]
) -> None:
    """The other host can be reached: pyinfra alone would go on and end in success."""
    host = f'{{"ssh_hostname": "127.0.0.1", "ssh_port": {listener.port}}}'
    project.write("inventory.py", f'workers = ["@local", ("w1", {host})]\n')
    project.write("deploys/nothing.py", "from pyinfra.operations import server\n")
    done = project.pyinfra("-y", *dry, "inventory.py", "deploys/nothing.py")
    assert done.returncode != 0, done.stdout + done.stderr


#: The bad input of an overlay: one mistake of each kind, in one section.
OVERLAY = """
wireguard = {
    "overlays": {
        "wg0": {
            "overlay_cidr": "10.200.0.0/24", "hubs": ["cp1"], "mtu": 1500,
            "accept_single_hub": True,
            "nodes": {
                "cp1": {"address": "10.200.0.1", "endpoint": "192.0.2.1:51820"},
                "w1": {"address": "10.200.0.1", "endpoint": "192.0.2.2:51820",
                    "pod_cidrs": ["10.244.1.0/24"]},
                "w2": {"address": "10.200.0.3", "behind_nat": True,
                    "pod_cidrs": ["10.244.0.0/16"]},
            },
        },
        "wg1": {
            "overlay_cidr": "10.201.0.0/24", "port": 51821,
            "nodes": {
                "cp1": {"address": "10.201.0.1", "endpoint": "192.0.2.1:51821"},
                "w1": {"address": "10.201.0.2", "behind_nat": True},
            },
        },
    },
}
network = {"service_cidr": "10.200.0.0/16"}
"""


@pytest.mark.parametrize("command", ["plan", "deploy"])
def test_every_mistake_of_an_overlay_is_told_and_nobody_is_connected(
    project: Project, listener: Listener, command: str
) -> None:
    hosts = [
        (name, {"ssh_hostname": "127.0.0.1", "ssh_port": listener.port})
        for name in ("cp1", "w1", "w2")
    ]
    project.write("inventory.py", f"nodes = {hosts!r}\n")
    for old in ("control_plane", "workers"):
        (project.folder / f"group_data/{old}.py").unlink(missing_ok=True)
    project.write("group_data/all.py", OVERLAY)
    done = (
        project.underlay("wireguard", "plan", "inventory.py")
        if command == "plan"
        else project.pyinfra("-y", "inventory.py", "deploys/wireguard.py")
    )
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    for word in (
        "two nodes with one overlay address", "allowed IPs overlap", "spokes without any hub",
        "underlay of 1500 leaves 1440", "overlaps network.service_cidr",
    ):  # fmt: skip
        assert word in text, text
    assert "Traceback" not in text
    assert listener.count == 0


def test_an_endpoint_without_a_port_is_told_and_nobody_is_connected(
    project: Project, listener: Listener
) -> None:
    project.write(
        "inventory.py",
        f'nodes = [("cp1", {{"ssh_hostname": "127.0.0.1", "ssh_port": {listener.port}}})]\n',
    )
    for old in ("control_plane", "workers"):
        (project.folder / f"group_data/{old}.py").unlink(missing_ok=True)
    node = {"address": "10.200.0.1", "endpoint": "192.0.2.1"}
    section = {"overlays": {"wg0": {"overlay_cidr": "10.200.0.0/24", "nodes": {"cp1": node}}}}
    project.write("group_data/all.py", f"wireguard = {section!r}\n")
    done = project.pyinfra("-y", "inventory.py", "deploys/wireguard.py")
    assert done.returncode == 2
    assert "no port in '192.0.2.1'" in done.stdout + done.stderr
    assert listener.count == 0


def test_hosts_that_are_off_are_rows_with_a_reason_and_exit_code_5(project: Project) -> None:
    """Nothing passes over hosts that nobody saw."""
    away = [(f"w{n}", {"ssh_hostname": "127.0.0.1", "ssh_port": n}) for n in (1, 2)]
    project.write("inventory.py", f"workers = {away!r}\n")
    done = project.underlay("preflight", "inventory.py", "--format", "json")
    assert done.returncode == 5
    report = json.loads(done.stdout)
    assert [row["name"] for row in report["hosts"]] == ["w1", "w2"]
    assert all("port" in row["lost"] for row in report["hosts"])
    assert report["counts"]["fail"] == 1
    seen = {check["id"] for check in report["checks"] if check["status"] == "pass"}
    assert seen <= {"address/overlap", "address/capacity", "cni/backup"}
