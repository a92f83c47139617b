"""An inventory of one's own: hosts by group, data beside a host, settings in group_data/."""

control_plane = [
    ("cp1", {"ssh_hostname": "192.0.2.10", "ssh_user": "root"}),
]

workers = [
    ("w1", {"ssh_hostname": "192.0.2.11", "ssh_user": "root"}),
    # a host's own section stands in place of the one in group_data
    (
        "w2",
        {
            "ssh_hostname": "192.0.2.12",
            "ssh_user": "root",
            "sysctl": {"profiles": ["kubernetes-node", "vxlan-throughput"]},
        },
    ),
]
