"""`underlay wireguard plan` and `underlay wireguard rotate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.terminal import say
from underlay.errors import UnderlayError

if TYPE_CHECKING:
    from underlay.features.wireguard.settings import Overlay


@click.group("wireguard")
def command() -> None:
    """Look at the WireGuard overlays of an inventory, and replace their keys.

    \b
    underlay wireguard plan inventory.py --svg overlay.svg
    underlay wireguard rotate inventory.py --host node-a
    """


@command.command("plan")
@click.argument("inventory_file", metavar="INVENTORY", type=click.Path())
@DATA
@click.option("--overlay", "only", multiple=True, help="Only this interface; may be repeated.")
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the topology."
)
def plan_command(
    *, inventory_file: str, data: tuple[str, ...], only: tuple[str, ...], svg: Path | None
) -> None:
    """Show members, ways and packet sizes; no host is asked.

    \b
    underlay wireguard plan inventory.py
    underlay wireguard plan inventory.py --overlay wg0 --svg overlay.svg
    """
    overlays = _overlays(inventory.load(inventory_file, parsed(data)), only)
    from underlay.features.wireguard import picture, plan

    for row in _table(overlays):
        say(row)
    for name, overlay in overlays.items():
        for text in plan.advice(name, overlay):
            say(f"  {text}")
    if svg is not None:
        svg.write_text(picture.draw(overlays))
        click.echo(f"drawn: {svg}")


@command.command("rotate")
@click.argument("inventory_file", metavar="INVENTORY", type=click.Path())
@DATA
@click.option("--overlay", "only", multiple=True, help="Only this interface; may be repeated.")
@click.option("--host", "members", multiple=True, help="Only this member; may be repeated.")
def rotate_command(
    *, inventory_file: str, data: tuple[str, ...], only: tuple[str, ...], members: tuple[str, ...]
) -> None:
    """Replace private keys member by member, spokes first, and count lost packets.

    \b
    underlay wireguard rotate inventory.py
    underlay wireguard rotate inventory.py --overlay wg0 --host node-a

    A key that gets no handshake is dropped again on both sides, and the command stops.
    """
    found = inventory.load(inventory_file, parsed(data))
    overlays = _overlays(found, only)
    from underlay.features.wireguard import rotate

    for member in members:
        if not any(member in overlay.members for overlay in overlays.values()):
            raise click.UsageError(f"--host {member}: is in no overlay")
    with inventory.connected(found) as hosts:
        by_name = {host.name: host for host in hosts}
        for name, overlay in overlays.items():
            for member in rotate.order(overlay):
                if not members or member in members:
                    click.echo(f"{name}: {rotate.rotate(by_name, name, overlay, member)}")


def _overlays(found: object, only: tuple[str, ...]) -> dict[str, Overlay]:
    """The overlays of a checked inventory; an error when there is none."""
    from underlay.features.fleet import fleet_of
    from underlay.features.wireguard.settings import WireGuard

    every: dict[str, Overlay] = {}
    for host in fleet_of(found):  # type: ignore[arg-type]
        for name, overlay in host.section(WireGuard).overlays.items():
            if overlay.members:
                every.setdefault(name, overlay)
    unknown = [name for name in only if name not in every]
    if unknown or not every:
        there = ", ".join(every) or "none"
        raise UnderlayError(
            f"wireguard.overlays: {'no ' + unknown[0] if unknown else 'none is present'}"
            f" (there: {there}); see docs/wireguard.md"
        )
    return {name: overlay for name, overlay in every.items() if not only or name in only}


def _table(overlays: dict[str, Overlay]) -> list[str]:
    from underlay.features.preflight.words import listed
    from underlay.features.wireguard import plan

    head = ("overlay", "host", "role", "address", "endpoint", "peers", "pods")
    found = plan.rows(overlays)
    rows = [
        (row.overlay, row.host, row.role, row.address, row.endpoint, str(row.peers), row.pods)
        for row in found
    ]
    # a column of its own would not fit beside the others on 80
    chains: dict[str, list[str]] = {}
    for row in found:
        chain = f"{row.overlay}: {' -> '.join(map(str, row.sizes))}"
        chains.setdefault(chain, []).append(row.host)
    sizes = [f"  {chain} on {listed(hosts)}" for chain, hosts in chains.items()]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    table = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return [*table, *sizes]
