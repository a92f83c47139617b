"""`underlay verify`: is the network as it should be after a change?"""

from __future__ import annotations

import click

from underlay.cli.checking import CheckOptions, options, run


@click.command("verify")
@options
def command(**given: object) -> int:
    """Run the checks that must hold after a change; the same functions as before it.

    \b
    underlay verify inventory.py
    underlay verify inventory.py --format junit --output verify.xml

    Exit codes as of `underlay preflight`.
    """
    return run("verify", CheckOptions.of(given))
