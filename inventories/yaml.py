"""Hosts and settings from a file in YAML: the one that UNDERLAY_INVENTORY names, else example.yaml.

See docs/yaml-inventory.md.
"""

import os
from pathlib import Path

from underlay.yaml_inventory import groups

_file = os.environ.get("UNDERLAY_INVENTORY") or Path(__file__).with_name("example.yaml")
globals().update(groups(_file))
