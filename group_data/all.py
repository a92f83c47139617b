"""Settings of every host. A top-level key is replaced as a whole by a group or a host."""

kernel_modules = {
    "sets": ["kubernetes", "conntrack", "ipvs"],
}

sysctl = {
    "profiles": ["kubernetes-node"],
}

kube_proxy = {
    "ipvs": {"scheduler": "rr"},
    # the node owns nf_conntrack_max, by the sysctl profile above
    "conntrack": {"max_per_core": 0},
}
