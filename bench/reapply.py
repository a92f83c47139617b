"""How much a re-apply that changes nothing costs: modules and 24 kernel settings on 20 hosts.

    python -m bench.reapply [--hosts 20] [--rounds 5] [--ways ssh,underlay,template]

Compared in one run, in turns, because a machine's speed changes by the minute; a ratio is the
median of the ratios of each round, never a quotient of times that were taken far apart:

    ssh       one bare command per host, all at once: what no tool can go below
    underlay  pyinfra with deploys/kernel_modules.py and deploys/sysctl.py
    template  Ansible: one template per file and a handler (its best form)
    loop      Ansible: one ansible.posix-style task per key

Ansible runs with pipelining, as many forks as hosts, no fact gathering, a fixed interpreter, and
connections kept open from the round before; underlay and ssh connect anew every time. Needs root
and the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.hosts import Hosts, hosts

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

#: So many remote commands per host may a re-apply cost.
COMMANDS = 3

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
#: Modules that this computer's kernel has in it, for namespaces share it.
MODULES = [
    name
    for name in ("nf_conntrack", "bridge", "overlay", "vxlan", "br_netfilter", "veth", "tcp_cubic")
    if Path(f"/sys/module/{name}").is_dir()
][:4]


def main() -> int:
    """Measure, print the table; exit code 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", default="ssh,underlay,template,loop", help="compare only these")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, hosts(options.hosts, Path(name)) as found:
        folder = Path(name)
        _project(folder, found)
        ways: dict[str, Callable[[], None]] = {
            "ssh": lambda: _bare(found),
            "underlay": lambda: _underlay(folder, found),
            "template": lambda: _ansible(folder, found, "template"),
            "loop": lambda: _ansible(folder, found, "loop"),
        }
        ways = {name: ways[name] for name in options.ways.split(",")}
        for run in ways.values():
            run()
        seconds = {way: [] for way in ways}  # type: dict[str, list[float]]
        for _ in range(options.rounds):
            for way, run in ways.items():
                started = time.monotonic()
                run()
                seconds[way].append(time.monotonic() - started)
        commands = _commands(folder, found)
    return _report(seconds, commands)


def _report(seconds: dict[str, list[float]], commands: int) -> int:
    own = seconds["underlay"]
    targets = {"ssh": ("<=", 1.5), "template": (">=", 2.0), "loop": (">=", 8.0)}
    rows = [
        (way, _ratio(own, seconds[way]) if way == "ssh" else _ratio(seconds[way], own), *target)
        for way, target in targets.items()
        if way in seconds
    ]
    print(f"{'':<10}{'seconds':>9}   ratio")
    print(f"{'underlay':<10}{statistics.median(own):>9.1f}   {commands} remote commands per host")
    missed = commands > COMMANDS
    for way, ratio, sign, target in rows:
        good = ratio <= target if sign == "<=" else ratio >= target
        missed = missed or not good
        what = "underlay / ssh" if way == "ssh" else f"{way} / underlay"
        verdict = "" if good else "   MISSED"
        told = f"{what} = {ratio:.2f} (target {sign} {target}){verdict}"
        print(f"{way:<10}{statistics.median(seconds[way]):>9.1f}   {told}")
    return 1 if missed else 0


def _ratio(dividends: list[float], divisors: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(dividends, divisors, strict=True))


def _project(folder: Path, found: Hosts) -> None:
    subprocess.run(
        [str(BIN / "underlay"), "init", str(folder / "p")], check=True, capture_output=True
    )
    data = {
        "ssh_user": "root", "ssh_key": str(found.key),
        "ssh_known_hosts_file": str(found.known_hosts),
    }  # fmt: skip
    listed = [(address, data) for address in found.addresses]
    (folder / "p/inventory.py").write_text(f"workers = {listed!r}\n")
    (folder / "p/group_data/all.py").write_text(
        f"kernel_modules = {{'modules': {MODULES!r}}}\nsysctl = {{'values': {SETTINGS!r}}}\n"
    )
    for group in ("control_plane", "workers"):
        (folder / f"p/group_data/{group}.py").unlink()
    lines = [
        f"{address} ansible_user=root ansible_ssh_private_key_file={found.key}"
        f" ansible_ssh_common_args='-o UserKnownHostsFile={found.known_hosts}'"
        f" ansible_python_interpreter=/usr/bin/python3"
        for address in found.addresses
    ]
    (folder / "hosts.ini").write_text("\n".join(lines) + "\n")
    (folder / "settings.j2").write_text("".join(f"{k} = {v}\n" for k, v in SETTINGS.items()))
    (folder / "modules.j2").write_text("\n".join(MODULES) + "\n")
    (folder / "template.yml").write_text(json.dumps(_template_play(folder)))
    (folder / "loop.yml").write_text(json.dumps(_loop_play()))


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


def _loop_play() -> list[dict[str, object]]:
    """As ansible.posix.sysctl does per key, with modules that ansible-core carries."""
    line = {
        "path": "/etc/sysctl.d/91-k.conf", "create": True, "regexp": "^{{ item.key }} =",
        "line": "{{ item.key }} = {{ item.value }}",
    }  # fmt: skip
    items = [{"key": key, "value": value} for key, value in SETTINGS.items()]
    return [{
        "hosts": "all", "gather_facts": False,
        "tasks": [{"ansible.builtin.lineinfile": line, "loop": items}],
    }]  # fmt: skip


def _bare(found: Hosts) -> None:
    def one(address: str) -> None:
        subprocess.run(found.inside(*found.ssh(address, "true")), check=True)

    with ThreadPoolExecutor(max_workers=len(found.addresses)) as pool:
        list(pool.map(one, found.addresses))


def _underlay(folder: Path, found: Hosts) -> None:
    command = [
        str(BIN / "pyinfra"), "-y", "inventory.py", "deploys/kernel_modules.py",
        "deploys/sysctl.py",
    ]  # fmt: skip
    environment = {**os.environ, "PYINFRA_PROGRESS": "off"}
    done = subprocess.run(
        found.inside(*command), cwd=folder / "p", env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)


def _ansible(folder: Path, found: Hosts, play: str) -> None:
    command = [
        str(BIN / "ansible-playbook"), "-i", str(folder / "hosts.ini"), "-f",
        str(len(found.addresses)), str(folder / f"{play}.yml"),
    ]  # fmt: skip
    environment = {
        **os.environ, "ANSIBLE_PIPELINING": "True", "LC_ALL": "C.UTF-8",
        "ANSIBLE_HOME": str(folder / "ansible"),
        # longer than a round, so that no round pays for Ansible's connections
        "ANSIBLE_SSH_ARGS": "-F /dev/null -o ControlMaster=auto -o ControlPersist=900s",
    }  # fmt: skip
    done = subprocess.run(
        found.inside(*command), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)


def _commands(folder: Path, found: Hosts) -> int:
    """The most remote commands that a re-apply costs one host, counted by the hosts' sshd."""
    before = {address: found.sessions(address) for address in found.addresses}
    _underlay(folder, found)
    return max(found.sessions(address) - before[address] for address in found.addresses)


if __name__ == "__main__":
    sys.exit(main())
