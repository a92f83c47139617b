"""The two sites of the running lab (`underlay lab up --topology two-sites`) with an IPsec link.

Their gateways route in clear between 10.10.0.0/24 and 10.20.0.0/24; the link encrypts that, and
what pods say to each other (10.244.0.0/16 and 10.245.0.0/16). The key is what
UNDERLAY_EXAMPLE_PSK holds. UNDERLAY_LAB names the lab when several run;
UNDERLAY_LINK=absent takes the link away.
"""

import os

from underlay.lab.inventory import load

_lab = load()

site_a = _lab.group("site_a")
site_b = _lab.group("site_b")

_link = {
    "state": os.environ.get("UNDERLAY_LINK", "present"),
    "ends": {
        "a": {
            "gateway": "a-gw",
            "address": "192.0.2.1",
            "networks": ["10.10.0.0/24", "10.244.0.0/16"],
            "nodes": ["a1"],
            "inside": "10.10.0.1",
        },
        "b": {
            "gateway": "b-gw",
            "address": "192.0.2.2",
            "networks": ["10.20.0.0/24", "10.245.0.0/16"],
            "nodes": ["b1"],
            "inside": "10.20.0.1",
        },
    },
    "psk": {"env": "UNDERLAY_EXAMPLE_PSK"},
}

for _, _data in [*site_a, *site_b]:
    _data["ipsec"] = {"links": {"a-b": _link}}
