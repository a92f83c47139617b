"""`underlay preflight`: is the network ready for what is about to be done?"""

from __future__ import annotations

import click

from underlay.cli.checking import CheckOptions, options, run


@click.command("preflight")
@options
def command(**given: object) -> int:
    """Look at every node and at the network between them; change nothing.

    \b
    underlay preflight inventory.py
    underlay preflight inventory.py --for 'iptables->ipvs' --fail-on warn
    underlay preflight inventory.py --format html --output network.html

    Exit codes: 0 passed, 3 a check failed, 4 warnings or unknown under --fail-on warn, 5 a node was
    not reached or dropped out.
    """
    return run("preflight", CheckOptions.of(given))
