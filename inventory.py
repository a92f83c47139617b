"""The worked example: the machines of the running lab (`underlay lab up`), by group.

Replace it by your own hosts: each list is a group, each entry a host name or (name, data).
UNDERLAY_LAB names the lab when several run.
"""

from underlay.lab.inventory import load

_lab = load()

control_plane = _lab.group("control_plane")
workers = _lab.group("workers")
hubs = _lab.group("hubs")
gateways = _lab.group("gateways")
