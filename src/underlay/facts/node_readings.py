"""The shell text that reads all a pre-flight needs of a node, in one command. Pure.

It asks for a POSIX shell and iproute2, and changes nothing. Each reading ends after READ_LIMIT
bytes: a file of any size costs a bounded answer.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from underlay.facts.kernel import normal
from underlay.facts.sysctl import FOLDERS, proc_path

READ_LIMIT = 65_536
CNI_FOLDER = "/etc/cni/net.d"
#: Readings that are one file.
FILES = {
    "hostname": "/proc/sys/kernel/hostname",
    "machine-id": "/etc/machine-id",
    "product-uuid": "/sys/class/dmi/id/product_uuid",
    "resolv": "/etc/resolv.conf",
    "resolv-uplink": "/run/systemd/resolve/resolv.conf",
    "kubelet-flags": "/var/lib/kubelet/kubeadm-flags.env",
    "hosts": "/etc/hosts",
    "swaps": "/proc/swaps",
    "flannel": "/run/flannel/subnet.env",
}
#: Where agents of a pre-flight keep their folder; one that outlives its run is a leftover.
AGENT_FOLDERS = "/run/underlay-preflight.* /tmp/underlay-preflight.*"

#: Whether IPv6 is on and forwards, and whether a default route hangs on router advertisements.
IPV6 = """cd /proc/sys/net/ipv6/conf && grep -sH '' $PWD/all/disable_ipv6 $PWD/all/forwarding
ip -6 route show default proto ra | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p' | while read -r d
do grep -sH '' $PWD/$d/accept_ra; done"""


def node_readings(modules: Iterable[str], sysctls: Iterable[str]) -> dict[str, str]:
    """Name -> shell text; modules and sysctls are validated names."""
    names = " ".join(shlex.quote(normal(module)) for module in modules)
    paths = " ".join(shlex.quote(proc_path(key)) for key in sysctls)
    tables = " ".join(f"{folder}/*.conf" for folder in FOLDERS)
    found = {
        "release": "uname -r; . /etc/os-release; printf '%s\\n' \"$ID\"",
        "uid": "id -u",
        "tools": "for t in python3 socat nc ping; do command -v $t; done",
        "links": "ip -j -d link show",
        "addresses": "ip -j addr show",
        "routes": "ip -j route show table all; echo; ip -j -6 route show table all",
        "loaded": "while read -r name _; do printf '%s\\n' \"$name\"; done < /proc/modules",
        "there": f"for m in {names}; do [ -d /sys/module/$m ] && printf '%s\\n' $m; done",
        "would": (
            f"for m in {names}; do [ -d /sys/module/$m ] || {{ printf '%s ' $m;"
            " modprobe -n -v $m 2>&1 | tail -n 1 | tr '\\n' ' '; echo; }; done"
        ),
        "blacklist": "cat /etc/modprobe.d/*.conf /run/modprobe.d/*.conf /usr/lib/modprobe.d/*.conf"
        " /lib/modprobe.d/*.conf | grep -E '^[[:space:]]*blacklist[[:space:]]'",
        "values": f"grep -sH '' {paths or '/dev/null'}",
        "boot": f"grep -HE '^[[:space:]]*-?[a-z]' {tables} /etc/ufw/sysctl.conf",
        "kubelet": "cat /var/lib/kubelet/config.yaml /etc/kubernetes/kubelet.conf.d/*.yaml"
        f" | head -c {READ_LIMIT}",
        "containerd": "grep -H SystemdCgroup /etc/containerd/config.toml",
        "programs": "cat /proc/[0-9]*/comm | sort -u",
        "cni": f"for f in {CNI_FOLDER}/*.conf {CNI_FOLDER}/*.conflist {CNI_FOLDER}/*.json;"
        ' do [ -f "$f" ] && printf \'%s\\n\' "$f"; done',
        "networkd": "cat /etc/systemd/networkd.conf /etc/systemd/networkd.conf.d/*.conf"
        " /usr/lib/systemd/networkd.conf.d/*.conf /run/systemd/networkd.conf.d/*.conf",
        "network-manager": "cat /etc/NetworkManager/NetworkManager.conf"
        " /etc/NetworkManager/conf.d/*.conf /usr/lib/NetworkManager/conf.d/*.conf",
        "firewalls": "cat /etc/ufw/ufw.conf | grep -i '^enabled'",
        "conntrack": "cat /proc/sys/net/netfilter/nf_conntrack_count"
        " /proc/sys/net/netfilter/nf_conntrack_max",
        "neighbours": "cat /proc/sys/net/ipv4/neigh/default/gc_thresh3 /proc/net/stat/arp_cache",
        "neighbours-v6": "cat /proc/sys/net/ipv6/neigh/default/gc_thresh3"
        " /proc/net/stat/ndisc_cache",
        "ipv6": IPV6,
        "proxy-mode": "grep -q ':2809 ' /proc/net/tcp /proc/net/tcp6 && {"
        " curl -s -m 2 http://127.0.0.1:10249/proxyMode"
        " || wget -q -T 2 -O - http://127.0.0.1:10249/proxyMode; }",
        # 9091: where Felix shows its metrics
        "felix": "grep -q ':2383 ' /proc/net/tcp /proc/net/tcp6 && echo metrics",
        "agents": f'for d in {AGENT_FOLDERS}; do [ -d "$d" ] && printf \'%s\\n\' "$d"; done',
    }
    return {**{name: f"head -c {READ_LIMIT} {path}" for name, path in FILES.items()}, **found}
