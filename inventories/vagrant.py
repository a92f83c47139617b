"""The machines that `vagrant up` made from the Vagrantfile beside the deploys.

UNDERLAY_VAGRANT is as for the Vagrantfile: `nodes` (workers) or `star` (inventories/star.py).
"""

from pathlib import Path

from underlay.vagrant import load

workers = load(Path(__file__).resolve().parent.parent)
