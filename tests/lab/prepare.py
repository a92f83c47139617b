"""What the labs of these tests are made of, ahead of them: disks, a box, etcd and Kubernetes.

    python -m tests.lab.prepare      everything that is not in the cache yet

The rule: `make test` runs it beside the tests that need no lab, with what time they leave. A lab
that comes before its artefact is there waits for it, as for any other builder.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tests import machine
from tests.lab import libvirt

from underlay.lab import sources
from underlay.lab.box import box
from underlay.lab.commands import BUILD_PACKAGES, LAB_PACKAGES
from underlay.lab.image import node_image
from underlay.lab.kubernetes.binaries import binaries
from underlay.lab.kubernetes.etcd import etcd
from underlay.lab.progress import clock
from underlay.lab.up import machine_image

#: command -> package; all at once and first, as apt does one thing at a time.
PACKAGES = dict(
    (*machine.NETNS_PACKAGES, *LAB_PACKAGES.items(), *BUILD_PACKAGES.items(), *libvirt.PACKAGES)
)


def main() -> None:
    """In the order in which the tests want them."""
    os.nice(19)
    if os.getsid(0) == os.getpid():
        # a session is a group for the scheduler, and only inside of it does the number above count
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text("19")
    say = clock()
    suite = sources.own_suite()
    machine_image(suite, None, say)
    node_image("trixie", say)
    box(None, say, install=False)
    etcd(say)
    machine_image(suite, binaries(None, say, install=False), say)


if __name__ == "__main__":
    main()
