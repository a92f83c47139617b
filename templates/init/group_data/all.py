"""Settings of every host. A group or a host that names a section replaces the whole section."""

# a host whose key is not in known_hosts is refused: ssh-keyscan -H HOST >> ~/.ssh/known_hosts
ssh_strict_host_key_checking = "yes"

# modules that are loaded now and at every boot
kernel_modules = {
    "sets": ["kubernetes", "conntrack", "ipvs"],
}

# named profiles, then keys of your own over them
sysctl = {
    "profiles": ["kubernetes-node"],
    "values": {
        "net.core.somaxconn": {"at_least": 32768},
    },
}

# deploys/proxy_mode.py migrates to `mode`, deploys/ipvs_migrate.py to ipvs
kube_proxy = {
    "mode": "iptables",
    "ipvs": {"scheduler": "rr"},
    # the node owns nf_conntrack_max, by the profile above
    "conntrack": {"max_per_core": 0},
    # one node first, then the others one after another; "25%" for larger clusters
    "rollout": {"canary": 1, "batch": 1},
}
