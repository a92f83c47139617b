"""The star of the running lab (`underlay lab up --topology star`) with its WireGuard overlay.

Spokes reach only the hub, each on a link of its own; the overlay joins them. UNDERLAY_LAB names the
lab when several run; UNDERLAY_VAGRANT=star takes the machines of Vagrant instead (docs/vagrant.md).
UNDERLAY_STAR=absent removes the overlay.
"""

import os
from pathlib import Path

from underlay import vagrant
from underlay.lab.inventory import load

if os.environ.get("UNDERLAY_VAGRANT") == "star":
    _machines = vagrant.load(Path(__file__).resolve().parent.parent)
    hubs = [_host for _host in _machines if _host[0] == "hub"]
    spokes = [_host for _host in _machines if _host[0] != "hub"]
else:
    _lab = load()
    hubs = _lab.group("hubs")
    spokes = _lab.group("spokes")

_links = [name for name, _ in spokes]
_overlay = {
    "state": os.environ.get("UNDERLAY_STAR", "present"),
    "overlay_cidr": "10.200.0.0/24",
    "hubs": ["hub"],
    # the master in the middle is the point of a star; say so
    "accept_single_hub": True,
    "nodes": {
        "hub": {"address": "10.200.0.100", "endpoint": "10.88.1.1:51820"},
        **{
            name: {
                "address": f"10.200.0.{number}",
                "endpoint": f"10.88.{number}.2:51820",
                # the hub has another address on every link
                "reach": {"hub": f"10.88.{number}.1:51820"},
            }
            for number, name in enumerate(_links, start=1)
        },
    },
}

for _, _data in [*hubs, *spokes]:
    _data["wireguard"] = {
        "overlays": {"wg0": _overlay},
        "known_cidrs": {"machines": "10.88.0.0/16", "management": "10.77.0.0/24"},
    }
