"""The machines of the running lab (`underlay lab up`), by group.

UNDERLAY_LAB names the lab when several run.
"""

from underlay.lab.inventory import load

_lab = load()

control_plane = _lab.group("control_plane")
workers = _lab.group("workers")
hubs = _lab.group("hubs")
gateways = _lab.group("gateways")
