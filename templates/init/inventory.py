"""Hosts by group. Each list is a group; an entry is a host name or (name, data)."""

control_plane = [
    ("cp1", {"ssh_hostname": "192.0.2.10", "ssh_user": "root"}),
]

workers = [
    ("w1", {"ssh_hostname": "192.0.2.11", "ssh_user": "root"}),
    ("w2", {"ssh_hostname": "192.0.2.12", "ssh_user": "root"}),
]
