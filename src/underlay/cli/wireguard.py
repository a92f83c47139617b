"""`underlay wireguard plan` and `underlay wireguard rotate`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.terminal import say
from underlay.errors import UnderlayError

if TYPE_CHECKING:
    from underlay.features.wireguard.plan import Row
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


#: Columns of a terminal that a plan keeps within, words without a space in them apart.
WIDTH = 80


def _table(overlays: dict[str, Overlay]) -> list[str]:
    """Members by overlay; where a row is too long, its endpoint stands below it."""
    from underlay.features.wireguard import plan

    lines = []
    for name, overlay in overlays.items():
        lines.append(f"{name}: {overlay.overlay_cidr}, UDP {overlay.port}")
        found = plan.rows({name: overlay})
        head = ("host", "role", "address", "peers", "endpoint")
        rows = [(row.host, row.role, row.address, str(row.peers), row.endpoint) for row in found]
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        below = 2 * len(head) + sum(widths) > WIDTH
        for row in (head, *rows):
            cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            shown = cells[:-1] if below else cells
            lines.append(f"  {'  '.join(shown)}".rstrip())
            if below:
                lines.append(f"      {row[-1]}")
        lines += _sizes(found)
    return lines


def _sizes(rows: Sequence[Row]) -> list[str]:
    """Pods that are routed, and the chain of packet sizes with the members that have it."""
    from underlay.features.preflight.words import listed

    chains: dict[str, list[str]] = {}
    for row in rows:
        chains.setdefault(" -> ".join(map(str, row.sizes)), []).append(row.host)
    lines = [f"  pods of {row.host}: {row.pods}" for row in rows if row.pods != "encapsulated"]
    return [
        *(part for line in lines for part in _wrapped(line)),
        *(
            part
            for chain, hosts in chains.items()
            for part in _wrapped(f"{chain} on {listed(hosts)}")
        ),
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text.strip(), WIDTH, initial_indent="  ", subsequent_indent="    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
