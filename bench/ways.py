"""One job done in several ways: kernel modules and 24 kernel settings on every host.

    ssh       one bare command per host, all at once: what no tool can go below
    underlay  pyinfra with deploys/kernel_modules.py and deploys/sysctl.py
    template  Ansible: one template per file and a handler (its best form)
    loop      Ansible: one ansible.posix-style task per key (the common form)

Ansible runs with pipelining, as many forks as hosts, no fact gathering, a fixed interpreter, and
connections kept open from its run before; underlay and ssh connect anew every time.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.hosts import Hosts

BIN = Path(sys.executable).parent

#: 24 keys that a network namespace has of its own.
SETTINGS = {
    "net.core.somaxconn": 32768, "net.ipv4.tcp_fin_timeout": 15, "net.ipv4.tcp_tw_reuse": 1,
    "net.ipv4.tcp_max_syn_backlog": 8192, "net.ipv4.tcp_keepalive_time": 600,
    "net.ipv4.tcp_keepalive_intvl": 30, "net.ipv4.tcp_keepalive_probes": 5,
    "net.ipv4.tcp_syn_retries": 4, "net.ipv4.tcp_synack_retries": 3,
    "net.ipv4.ip_local_port_range": "10240 65000", "net.ipv4.ip_forward": 1,
    "net.ipv4.conf.all.rp_filter": 2, "net.ipv4.conf.default.rp_filter": 2,
    "net.ipv4.conf.all.accept_redirects": 0, "net.ipv4.conf.default.accept_redirects": 0,
    "net.ipv4.conf.all.send_redirects": 0, "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.tcp_slow_start_after_idle": 0, "net.ipv4.tcp_mtu_probing": 1,
    "net.ipv4.tcp_notsent_lowat": 131072, "net.ipv4.tcp_ecn": 2, "net.ipv4.tcp_sack": 1,
    "net.ipv4.tcp_timestamps": 1, "net.ipv4.tcp_window_scaling": 1,
}  # fmt: skip
#: The key that differs on one host when only one host has a change, and its value there.
ODD_KEY, ODD_VALUE = "net.core.somaxconn", 16384
#: Modules that this computer's kernel has in it, for namespaces share it.
MODULES = [
    name
    for name in ("nf_conntrack", "bridge", "overlay", "vxlan", "br_netfilter", "veth", "tcp_cubic")
    if Path(f"/sys/module/{name}").is_dir()
][:4]


@dataclass(frozen=True)
class Way:
    """A command line that does the job, and where and with what it is run."""

    command: list[str]
    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """All variables of the run."""
        return {**os.environ, **self.more}

    def run(self) -> None:
        """Do the job; a run that fails ends everything with its output."""
        done = subprocess.run(
            self.command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)


def ways(folder: Path, found: Hosts) -> dict[str, Way]:
    """The ways, for a project made here; `project` must have been called."""
    calls = [shlex.join(found.ssh(address, "true")) for address in found.addresses]
    every = "pids=; " + "".join(f'{call} & pids="$pids $!"; ' for call in calls)
    plays = {
        name: Way(
            found.inside(
                str(BIN / "ansible-playbook"), "-i", str(folder / "hosts.ini"), "-f",
                str(len(found.addresses)), str(folder / f"{name}.yml"),
            ),
            folder,
            {
                "ANSIBLE_PIPELINING": "True", "LC_ALL": "C.UTF-8",
                "ANSIBLE_HOME": str(folder / "ansible"),
                # or a kept connection would lead to hosts of before that had the same address
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
                # longer than a round, so that no round pays for Ansible's connections
                "ANSIBLE_SSH_ARGS": "-F /dev/null -o ControlMaster=auto -o ControlPersist=900s",
            },
        )
        for name in ("template", "loop")
    }  # fmt: skip
    return {
        "ssh": Way(
            found.inside("sh", "-c", every + "for p in $pids; do wait $p || exit 1; done"), folder
        ),
        "underlay": Way(
            found.inside(
                str(BIN / "pyinfra"), "-y", "inventory.py", "deploys/kernel_modules.py",
                "deploys/sysctl.py",
            ),
            folder / "p",
            {"PYINFRA_PROGRESS": "off"},
        ),
        **plays,
    }  # fmt: skip


def project(folder: Path, found: Hosts, odd: str = "") -> None:
    """Write the inventories and what is to be done. odd: address of the one host that differs."""
    place = folder / "p"
    if not place.exists():
        init = [str(BIN / "underlay"), "init", str(place)]
        subprocess.run(init, check=True, capture_output=True)
        for group in ("control_plane", "workers"):
            (place / f"group_data/{group}.py").unlink()
    (place / "group_data/all.py").write_text(
        f"kernel_modules = {{'modules': {MODULES!r}}}\nsysctl = {{'values': {SETTINGS!r}}}\n"
    )
    data = {
        "ssh_user": "root", "ssh_key": str(found.key),
        "ssh_known_hosts_file": str(found.known_hosts),
    }  # fmt: skip
    other = {"sysctl": {"values": {**SETTINGS, ODD_KEY: ODD_VALUE}}}
    listed = [
        (address, {**data, **(other if address == odd else {})}) for address in found.addresses
    ]
    (place / "inventory.py").write_text(f"workers = {listed!r}\n")
    lines = [
        f"{address} ansible_user=root ansible_ssh_private_key_file={found.key}"
        f" ansible_ssh_common_args='-o UserKnownHostsFile={found.known_hosts}'"
        f" ansible_python_interpreter=/usr/bin/python3"
        f" odd={ODD_VALUE if address == odd else SETTINGS[ODD_KEY]}"
        for address in found.addresses
    ]
    (folder / "hosts.ini").write_text("\n".join(lines) + "\n")
    odd_value = {**SETTINGS, ODD_KEY: "{{ odd }}"}
    (folder / "settings.j2").write_text("".join(f"{k} = {v}\n" for k, v in odd_value.items()))
    (folder / "modules.j2").write_text("\n".join(MODULES) + "\n")
    (folder / "template.yml").write_text(json.dumps(_template_play(folder)))
    (folder / "loop.yml").write_text(json.dumps(_loop_play(odd_value)))


def _template_play(folder: Path) -> list[dict[str, object]]:
    template = "ansible.builtin.template"
    apply = "sysctl -p /etc/sysctl.d/90-k.conf"
    return [{
        "hosts": "all", "gather_facts": False,
        "tasks": [
            {template: {"src": str(folder / "modules.j2"), "dest": "/etc/modules-load.d/k.conf"}},
            {
                template: {"src": str(folder / "settings.j2"), "dest": "/etc/sysctl.d/90-k.conf"},
                "notify": "apply",
            },
        ],
        "handlers": [{"name": "apply", "ansible.builtin.command": apply}],
    }]  # fmt: skip


def _loop_play(settings: Mapping[str, object]) -> list[dict[str, object]]:
    """As ansible.posix.sysctl does per key, with modules that ansible-core carries."""
    line = {
        "path": "/etc/sysctl.d/91-k.conf", "create": True, "regexp": "^{{ item.key }} =",
        "line": "{{ item.key }} = {{ item.value }}",
    }  # fmt: skip
    items = [{"key": key, "value": value} for key, value in settings.items()]
    apply = "sysctl -p /etc/sysctl.d/91-k.conf"
    return [{
        "hosts": "all", "gather_facts": False,
        "tasks": [{"ansible.builtin.lineinfile": line, "loop": items, "notify": "apply"}],
        "handlers": [{"name": "apply", "ansible.builtin.command": apply}],
    }]  # fmt: skip
