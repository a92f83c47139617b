"""The running lab (`underlay lab up --cni none`) with flannel for its pods.

The lab reaches no registry: `underlay lab image` gives flannel's images to its machines first.
UNDERLAY_LAB names the lab when several run.
"""

from underlay.lab.inventory import load

_lab = load()

control_plane = _lab.group("control_plane")
workers = _lab.group("workers")

for _, _data in [*control_plane, *workers]:
    _data["network"] = {
        "cni": "flannel",
        "encapsulation": "vxlan",
        "mtu": 1500,
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/16",
    }
    # where Debian's containerd looks for plugins
    _data["flannel"] = {"cni_bin": "/usr/lib/cni"}
